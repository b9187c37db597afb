// Re-orders the best posts of a draft for variety of their embeddings, by the configured method.
import { dppOrder } from './dpp-diversity.ts';
import { addEffect, type Draft } from './draft.ts';
import { mmrOrder } from './mmr-diversity.ts';
import type { RulesConfig } from './rules-config.ts';

/** Re-orders the first `pool` items; what the method did not pick follows in the order it had. */
export function diversify(draft: Draft, config: RulesConfig['diversity']): void {
  const n = Math.min(config.pool, draft.size);
  if (config.method === 'none' || n < 3) return;
  const { dim, vectors } = draft.catalogue;
  const pool = draft.order.slice(0, n);
  const rows = new Uint32Array(n);
  for (let i = 0; i < n; i++) rows[i] = draft.rows[pool[i]];
  const relevance = poolRelevance(draft, pool);
  const method = config.method === 'dpp' ? dppOrder : mmrOrder;
  const picked = method(relevance, vectors, rows, dim, Math.min(config.depth, n), config.theta);
  const moved = new Uint8Array(n);
  let at = 0;
  for (let pick = 0; pick < picked.length; pick++) {
    const from = picked[pick];
    moved[from] = 1;
    if (draft.explained && from !== at)
      addEffect(draft, pool[from], config.method, `${from + 1} → ${at + 1}`);
    draft.order[at++] = pool[from];
  }
  for (let from = 0; from < n; from++) if (moved[from] === 0) draft.order[at++] = pool[from];
}

/** Utilities scaled to [0, 1] over the pool, so that theta means the same for every model's scores. */
function poolRelevance({ utility }: Draft, pool: Uint32Array): Float64Array {
  const relevance = new Float64Array(pool.length);
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < pool.length; i++) {
    const value = utility[pool[i]];
    relevance[i] = value;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const span = high - low;
  for (let i = 0; i < pool.length; i++) relevance[i] = span > 0 ? (relevance[i] - low) / span : 1;
  return relevance;
}
