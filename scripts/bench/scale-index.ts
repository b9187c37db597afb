// One size of `npm run bench -- scale`, as a process of its own, so that its memory is this size's alone: builds an
// index over generated vectors with the real build, or loads and searches one. Called by scale.ts.
import { join } from 'node:path';
import { graphShards, loadGeneration } from '../../src/candidates/index/artifact.ts';
import type { Manifest } from '../../src/candidates/index/artifact-manifest.ts';
import { buildIndex } from '../../src/candidates/index/build.ts';
import { syntheticQueries } from '../../src/candidates/index/calibration.ts';
import { ExactIndex } from '../../src/candidates/index/exact-index.ts';
import { HnswIndex } from '../../src/candidates/index/hnsw-index.ts';
import { InvertedIndex } from '../../src/candidates/index/inverted-index.ts';
import { newHits } from '../../src/candidates/source.ts';
import type { Post, VectorIndex } from '../../src/contracts.ts';
import { DIM } from '../../src/vocabulary.ts';
import { Rng } from '../generate/rng.ts';
import { residentMiB } from './machine.ts';
import { type Spread, spread } from './statistics.ts';

export interface ScaleTask {
  mode: 'build' | 'measure';
  posts: number;
  seed: number;
  indexDir: string;
  graph: boolean;
  /** `generated` vectors, or means of an index's own posts. */
  queries: 'generated' | 'posts';
}

export interface BuildFigures {
  buildSeconds: number;
  listsSeconds: number | null;
  graphSeconds: number | null;
  peakRssMiB: number;
}

export interface SearchFigures {
  search: string;
  ms: Spread;
  recall: number;
}

export interface MeasureFigures {
  posts: number;
  loadSeconds: number;
  fileMiB: number;
  rssMiB: number;
  searches: SearchFigures[];
}

/** Sub-topics that posts lie around, and how far: as close as the towers put the generated world's posts. */
const CENTRES = 400;
const SPREAD = 0.55;
const BATCH = 4096;
const POSTS_AN_AUTHOR = 12;
/** The mean recall of fewer varies by a hundredth from one set of queries to another. */
const QUERIES = 200;
const WARM_UP = 20;
const CALIBRATION_QUERIES = 200;
const K = 1000;
const DAY_MS = 24 * 3_600_000;

/** Unit vectors around a fixed set of centres; the same seed gives the same ones. */
class VectorSource {
  readonly #rng: Rng;
  readonly #centres: Float32Array;

  constructor(seed: number, stream: string) {
    this.#rng = new Rng(seed, stream);
    const centres = new Rng(seed, 'centres');
    this.#centres = Float32Array.from({ length: CENTRES * DIM }, () => centres.normal() / Math.sqrt(DIM));
  }

  /** One more vector at `out[at …]`: a centre, more often a small number of them, and noise around it. */
  write(out: Float32Array, at: number): void {
    const rng = this.#rng;
    const centre = Math.floor(CENTRES * rng.next() ** 2) * DIM;
    let sum = 0;
    for (let i = 0; i < DIM; i++) {
      const value = this.#centres[centre + i] + (SPREAD * rng.normal()) / Math.sqrt(DIM);
      out[at + i] = value;
      sum += value * value;
    }
    const norm = Math.sqrt(sum) || 1;
    for (let i = 0; i < DIM; i++) out[at + i] /= norm;
  }

  list(count: number): Float32Array[] {
    return Array.from({ length: count }, () => {
      const vector = new Float32Array(DIM);
      this.write(vector, 0);
      return vector;
    });
  }
}

async function build({ posts, seed, indexDir, graph }: ScaleTask): Promise<BuildFigures> {
  const vectors = new VectorSource(seed, 'vectors');
  const nowMs = Date.now();
  const ageMs = 14 * DAY_MS;
  async function* batches(): AsyncGenerator<Post[]> {
    for (let from = 0; from < posts; from += BATCH) {
      yield Array.from({ length: Math.min(BATCH, posts - from) }, (_, i) => ({
        id: `p${from + i}`,
        authorId: `a${Math.floor(((from + i) * 7919) / POSTS_AN_AUTHOR) % Math.ceil(posts / POSTS_AN_AUTHOR)}`,
        createdAt: nowMs - ageMs + Math.floor((ageMs * (from + i)) / posts),
        text: '',
      }));
    }
  }
  const startedAt = performance.now();
  let peakRssMiB = 0;
  const manifest = await buildIndex({
    indexDir,
    tower: 'generated@1',
    position: '',
    posts: batches(),
    embed: async (batch) => {
      const out = new Float32Array(batch.length * DIM);
      for (let i = 0; i < batch.length; i++) vectors.write(out, i * DIM);
      return out;
    },
    queries: async () => new VectorSource(seed, 'calibration').list(CALIBRATION_QUERIES),
    k: K,
    search: graph ? 'auto' : 'ivf',
    keep: 1,
    inFlight: 1,
    onProgress: ({ stage, done, total }) => {
      peakRssMiB = Math.max(peakRssMiB, residentMiB(process.pid));
      progress(`${posts} posts: ${stage} ${done}${total === null ? '' : ` of ${total}`}`);
    },
  });
  return {
    buildSeconds: seconds(performance.now() - startedAt),
    listsSeconds: manifest.lists?.buildSeconds ?? null,
    graphSeconds: manifest.graph?.buildSeconds ?? null,
    peakRssMiB,
  };
}

async function measure({ seed, indexDir, queries: from }: ScaleTask): Promise<MeasureFigures> {
  const startedAt = performance.now();
  const generation = await loadGeneration(indexDir, undefined, { withLists: true });
  const loadSeconds = seconds(performance.now() - startedAt);
  if (!generation) throw new Error(`${indexDir}: nothing was published`);
  const { table, manifest } = generation;
  const scan = await ExactIndex.open(table);
  const rssMiB = residentMiB(process.pid);
  const posts = manifest.rows;
  const k = Math.min(K, posts);
  const queries =
    from === 'generated' ? new VectorSource(seed, 'queries').list(QUERIES) : syntheticQueries(table, QUERIES);
  const truth = queries.map((query) => rowsOf(scan, query, k));
  const searches: SearchFigures[] = [measureSearch('scan', scan, queries, truth, k)];
  const probes = best(manifest, 'ivf')?.probes;
  if (probes) {
    const lists = new InvertedIndex(scan, { all: probes, short: [] });
    searches.push(measureSearch(`lists, ${probes} of ${lists.lists}`, lists, queries, truth, k));
  }
  const ef = best(manifest, 'hnsw')?.ef;
  if (ef) {
    const shards = graphShards(join(indexDir, manifest.version), manifest);
    const graph = await HnswIndex.load({ ef, shards }, table);
    searches.push(measureSearch(`graph, ef ${ef}`, graph, queries, truth, k));
  }
  const bytes = Object.values(manifest.files).reduce((sum, file) => sum + file.bytes, 0);
  return { posts, loadSeconds, fileMiB: Math.round(bytes / 2 ** 20), rssMiB, searches };
}

/** The fastest of a kind that reaches the target; null where it was not built or none does. */
function best({ calibration }: Manifest, kind: 'ivf' | 'hnsw') {
  const of = calibration.measured.filter((one) => one.kind === kind);
  const good = of.filter((one) => one.recall >= calibration.targetRecall).sort((a, b) => a.p50Ms - b.p50Ms);
  return good[0] ?? of.sort((a, b) => b.recall - a.recall)[0] ?? null;
}

/** Recall against the exact scan with its re-score (.9999 of plain float32). */
function measureSearch(
  search: string,
  index: VectorIndex,
  queries: readonly Float32Array[],
  truth: readonly Set<number>[],
  k: number,
): SearchFigures {
  const hits = newHits(k);
  const times: number[] = [];
  let found = 0;
  for (const query of queries.slice(0, WARM_UP)) index.search(query, k, hits);
  let wanted = 0;
  for (const [i, query] of queries.entries()) {
    const startedAt = performance.now();
    index.search(query, k, hits);
    times.push(performance.now() - startedAt);
    wanted += truth[i].size;
    for (let j = 0; j < hits.size; j++) if (truth[i].has(hits.rows[j])) found++;
  }
  return { search, ms: spread(times), recall: Number((found / wanted).toFixed(4)) };
}

function rowsOf(index: VectorIndex, query: Float32Array, k: number): Set<number> {
  const hits = newHits(k);
  index.search(query, k, hits);
  return new Set(hits.rows.subarray(0, hits.size));
}

let lastLineAt = 0;

/** At most a line every two seconds. */
function progress(line: string): void {
  if (performance.now() - lastLineAt < 2000) return;
  lastLineAt = performance.now();
  process.stderr.write(`bench: ${line}\n`);
}

function seconds(ms: number): number {
  return Number((ms / 1000).toFixed(2));
}

if (import.meta.main && process.send) {
  const task = JSON.parse(process.argv[2]) as ScaleTask;
  const figures = task.mode === 'build' ? await build(task) : await measure(task);
  process.send(figures, () => process.exit(0));
}
