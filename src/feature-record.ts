// What a sampled request's posts looked like to the ranker: every feature of the slate's first posts, encoded again
// right after ranking from the same user and memory. Called by pipeline.ts, read by scripts/features.
import type { Catalogue, FeatureRecord, FeedQuery, SlateEntry } from './contracts.ts';
import { FeatureEncoder } from './features/feature-encoder.ts';
import { compilePlan, FEATURES } from './features/feature-schema.ts';

/** Posts of a record: a page or so; each is some 270 bytes. */
const POSTS = 20;

/** All features but the products of the two vectors' coordinates, which follow from the vectors. */
export const LOGGED_FEATURES = FEATURES.map(({ id }) => id).filter((id) => id !== 'hadamard@1');

/** Every request of a worker in turn, as the ranker's own: it holds tables over one user's history. */
let encoder: FeatureEncoder | null = null;

export function featureRecord(
  query: Pick<FeedQuery, 'user' | 'nowMs'>,
  catalogue: Catalogue,
  slate: readonly Pick<SlateEntry, 'row'>[],
): FeatureRecord {
  encoder ??= new FeatureEncoder(compilePlan(LOGGED_FEATURES));
  const rows = Uint32Array.from(slate.slice(0, POSTS), ({ row }) => row);
  const values = new Float32Array(rows.length * encoder.width);
  encoder.begin(query.user, catalogue, { nowMs: query.nowMs });
  encoder.encode(catalogue, rows, 0, rows.length, values);
  return {
    atMs: query.nowMs,
    features: [...LOGGED_FEATURES],
    postIds: Array.from(rows, (row) => catalogue.keyOf(row)),
    values: base64(values),
    userVector: base64(query.user.embedding),
    userVectorKind: query.user.embeddingKind,
  };
}

function base64(values: Float32Array): string {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64');
}
