// Samples live requests and recomputes their features as of the watermark that the serving log recorded: what is unequal
// is a skew between what the service serves with and what its source of truth says. Called by scripts/features.ts.
import { FeatureEncoder } from '../../src/features/feature-encoder.ts';
import { compilePlan } from '../../src/features/feature-schema.ts';
import { packUser } from '../../src/pack-user.ts';
import { FIELD, RECORD_WORDS } from '../../src/post-record.ts';
import { type TowerInput, towerInput } from '../../src/user-embedder.ts';
import { DIM } from '../../src/vocabulary.ts';
import { AsOfReplay, type EmbedPosts } from './as-of-replay.ts';
import type { FeatureSample, FeatureStore } from './feature-store.ts';
import { type FeatureSkew, SkewTally } from './skew.ts';

export interface FeatureDiff {
  /** Sampled requests, and the posts compared in them. */
  requests: number;
  rows: number;
  /** Worst feature first. */
  skew: FeatureSkew[];
  /** Features with a number that is not equal. */
  unequal: string[];
  /**
   * Posts compared apart: an event of the user, the post or its author arrived between the watermark and the answer, so
   * that the service may have had it or not.
   */
  inFlight: { rows: number; unequal: number };
  /** Posts that are not there as of the watermark: changed or deleted since, and only their newest state is kept. */
  leftOut: number;
  /** Vectors made from the recomputed histories beside those used; ages are those of the request, not of the making. */
  userVectors: { compared: number; smallestCosine: number | null };
  /** Changes replayed. */
  changes: number;
}

export interface FeatureDiffOptions {
  store: FeatureStore;
  embedPosts: EmbedPosts;
  embedUsers: (users: TowerInput[]) => Promise<Float32Array>;
  /** Requests, the newest ones. */
  samples: number;
  onProgress?: (done: number, total: number) => void;
}

export async function diffFeatures(options: FeatureDiffOptions): Promise<FeatureDiff> {
  const { store, embedPosts, onProgress } = options;
  const samples = await store.samples(options.samples);
  const replay = await AsOfReplay.open(store, new Set(samples.map(({ userId }) => userId)), embedPosts);
  const settled = new SkewTally();
  const inFlight = new SkewTally();
  const diff: FeatureDiff = {
    requests: samples.length,
    rows: 0,
    skew: [],
    unequal: [],
    inFlight: { rows: 0, unequal: 0 },
    leftOut: 0,
    userVectors: { compared: 0, smallestCosine: null },
    changes: 0,
  };
  for (const [i, sample] of samples.entries()) {
    diff.changes += await replay.advanceTo(sample.watermark);
    await compare(sample, replay, options, { diff, settled, inFlight });
    onProgress?.(i + 1, samples.length);
  }
  diff.rows = settled.rows;
  diff.skew = settled.report();
  diff.unequal = diff.skew.filter(({ unequal }) => unequal > 0).map(({ feature }) => feature);
  const apart = inFlight.report();
  const values = apart.reduce((sum, one) => sum + one.values, 0);
  const unequal = apart.reduce((sum, one) => sum + one.unequal * one.values, 0);
  diff.inFlight = { rows: inFlight.rows, unequal: values === 0 ? 0 : unequal / values };
  return diff;
}

interface Tallies {
  diff: FeatureDiff;
  settled: SkewTally;
  inFlight: SkewTally;
}

async function compare(
  sample: FeatureSample,
  replay: AsOfReplay,
  { store, embedUsers }: FeatureDiffOptions,
  { diff, settled, inFlight }: Tallies,
): Promise<void> {
  const { userId, features: record } = sample;
  const { table } = replay;
  const state = await replay.stateOf(userId, record.atMs);
  const posts = await store.posts(record.postIds);
  await replay.embed(posts.filter((post) => post !== null));
  const vector = floats(record.userVector);
  await compareVectors(diff, vector, state && towerInput(state.history, table, record.atMs), embedUsers);
  const encoder = new FeatureEncoder(compilePlan(record.features));
  const user = packUser(userId, state, vector, record.userVectorKind);
  encoder.begin(user, table, { nowMs: record.atMs });
  const used = floats(record.values);
  const recomputed = new Float32Array(encoder.width);
  const moved = await movedMeanwhile(sample, replay, store);
  record.postIds.forEach((postId, i) => {
    const row = table.rowOfId(postId);
    if (row < 0 || posts[i] === null) {
      diff.leftOut++;
      return;
    }
    encoder.encode(table, Uint32Array.of(row), 0, 1, recomputed);
    const tally = moved(row) ? inFlight : settled;
    tally.add(record.features, used.subarray(i * encoder.width, (i + 1) * encoder.width), recomputed);
  });
}

/** Whether something about this row was on its way while the request ran. */
async function movedMeanwhile(
  sample: FeatureSample,
  { table }: AsOfReplay,
  store: FeatureStore,
): Promise<(row: number) => boolean> {
  const late = await store.arrivedMeanwhile(sample.watermark, sample.at);
  if (late.some(({ userId }) => userId === sample.userId)) return () => true;
  const rows = late.map(({ postId }) => table.rowOfId(postId)).filter((row) => row >= 0);
  const authors = new Set(rows.map((row) => authorOf(table, row)));
  return (row) => authors.has(authorOf(table, row));
}

function authorOf({ records }: AsOfReplay['table'], row: number): number {
  return records.u32[row * RECORD_WORDS + FIELD.authorSlot];
}

async function compareVectors(
  diff: FeatureDiff,
  used: Float32Array,
  input: TowerInput | null,
  embedUsers: FeatureDiffOptions['embedUsers'],
): Promise<void> {
  if (input === null) return;
  const made = await embedUsers([input]);
  let cosine = 0;
  for (let d = 0; d < DIM; d++) cosine += used[d] * made[d];
  diff.userVectors.compared++;
  const smallest = Math.min(diff.userVectors.smallestCosine ?? 1, cosine);
  diff.userVectors.smallestCosine = Number(smallest.toFixed(5));
}

function floats(text: string): Float32Array {
  const bytes = Buffer.from(text, 'base64');
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}
