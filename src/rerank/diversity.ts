// Re-orders the best posts of a draft for variety of their embeddings, by the configured method.
import { dppOrder } from './dpp-diversity.ts';
import type { Draft } from './draft.ts';
import { addEffect } from './draft.ts';
import { mmrOrder } from './mmr-diversity.ts';
import type { RulesConfig } from './rules-config.ts';

/** Re-orders the first `pool` items; what the method did not pick follows in the order it had. */
export function diversify(draft: Draft, config: RulesConfig['diversity']): void {
  const n = Math.min(config.pool, draft.size);
  if (config.method === 'none' || n < 3) return;
  const { dim } = draft.catalogue;
  const pool = draft.order.slice(0, n);
  const vectors = poolVectors(draft, pool, dim);
  const relevance = poolRelevance(draft, pool);
  const picks = Math.min(config.depth, n);
  const method = config.method === 'dpp' ? dppOrder : mmrOrder;
  const picked = method(relevance, vectors, dim, picks, config.theta);
  const moved = new Uint8Array(n);
  let at = 0;
  for (const from of picked) {
    moved[from] = 1;
    if (from !== at) addEffect(draft, pool[from], config.method, `${from + 1} → ${at + 1}`);
    draft.order[at++] = pool[from];
  }
  for (let from = 0; from < n; from++) if (moved[from] === 0) draft.order[at++] = pool[from];
}

/** [n, dim]; a vector that is not finite becomes zeros, which resemble nothing more than anything else. */
function poolVectors(draft: Draft, pool: Uint32Array, dim: number): Float32Array {
  const vectors = new Float32Array(pool.length * dim);
  for (let i = 0; i < pool.length; i++) {
    const from = draft.rows[pool[i]] * dim;
    let sum = 0;
    for (let d = 0; d < dim; d++) sum += vectors[i * dim + d] = draft.catalogue.vectors[from + d];
    if (!Number.isFinite(sum)) vectors.fill(0, i * dim, (i + 1) * dim);
  }
  return vectors;
}

/** Utilities scaled to [0, 1] over the pool, so that theta means the same for every model's scores. */
function poolRelevance(draft: Draft, pool: Uint32Array): Float64Array {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const item of pool) {
    low = Math.min(low, draft.utility[item]);
    high = Math.max(high, draft.utility[item]);
  }
  const span = high - low;
  return Float64Array.from(pool, (item) => (span > 0 ? (draft.utility[item] - low) / span : 1));
}
