// EB-NeRD's lists and reads as events of the replayed service, its features of the articles in view, and what its own
// ranker makes of them. Called by ebnerd.ts.
import type { Post } from '../../src/contracts.ts';
import { HEADS } from '../../src/vocabulary.ts';
import type { EbnerdData } from './ebnerd-impressions.ts';
import { ReplayedPipeline } from './replay-pipeline.ts';
import { EventStreams, FeatureColumns, ReplayedService } from './replay-service.ts';

const CLICK = HEADS.indexOf('click');
const WEIGHTS = { click: 1, like: 0, reply: 0, share: 0, dwell: 0, negative: 0 };

type Data = Pick<EbnerdData, 'lists' | 'reads' | 'articles' | 'set'>;

/** Articles as posts of nobody and without a text, as the files have neither; they appear when somebody first sees them. */
function ebnerdService({ lists, reads, articles }: Data, seed: number) {
  const firstAt = new Float64Array(articles.length).fill(Number.POSITIVE_INFINITY);
  for (const { at, inView } of lists) for (const item of inView) firstAt[item] = Math.min(firstAt[item], at);
  reads.at.forEach((at, i) => {
    firstAt[reads.item[i]] = Math.min(firstAt[reads.item[i]], at);
  });
  const posts = articles.map((id, item): Post => {
    return {
      id: String(id),
      authorId: 'unknown',
      createdAt: Number.isFinite(firstAt[item]) ? firstAt[item] : 0,
    };
  });
  const service = new ReplayedService(posts, seed);
  const read = Array.from(reads.at.keys()).sort((a, b) => reads.knownAt[a] - reads.knownAt[b] || a - b);
  const event = (i: number) => ({ user: reads.user[i], post: reads.item[i] });
  const events = new EventStreams([
    {
      length: lists.length,
      at: (g) => lists[g].at,
      apply: (g) => {
        const { user, at, inView } = lists[g];
        for (const post of inView) service.apply({ user, post, type: 'impression', at });
      },
    },
    {
      length: reads.at.length,
      at: (i) => reads.at[i],
      apply: (i) => service.apply({ ...event(i), type: 'click', at: reads.at[i] }),
    },
    {
      length: reads.at.length,
      at: (k) => reads.knownAt[read[k]],
      apply: (k) => {
        const i = read[k];
        const dwellMs = 1000 * reads.seconds[i];
        if (dwellMs > 0) service.apply({ ...event(i), type: 'dwell', at: reads.knownAt[i], dwellMs });
      },
    },
  ]);
  return { service, events };
}

/** Calls `visit` with the service as it was before each list, from `fromMs` on; the list's articles are in the catalogue. */
async function replayLists(
  data: Data,
  { service, events }: ReturnType<typeof ebnerdService>,
  fromMs: number,
  visit: (first: number, user: number, rows: Uint32Array, at: number) => void | Promise<void>,
  onProgress: (fraction: number) => void,
): Promise<void> {
  let first = 0;
  for (const [g, { user, at, inView }] of data.lists.entries()) {
    if (at >= fromMs) {
      events.advance(at);
      const rows = Uint32Array.from(inView, (item) => service.add(item));
      const visited = visit(first, user, rows, at);
      if (visited) await visited;
    }
    first += inView.length;
    if (g % 256 === 0) onProgress(g / data.lists.length);
  }
  onProgress(1);
}

/** The service's features of every article in view, in the order of the table. */
export async function describeLists(data: Data, seed: number, onProgress: (fraction: number) => void) {
  const replay = ebnerdService(data, seed);
  const { service } = replay;
  const columns = new FeatureColumns(service.encoder.width, data.set.rows);
  const encode = (first: number, user: number, rows: Uint32Array, at: number) => {
    const encoded = new Float32Array(rows.length * service.encoder.width);
    service.encode(user, rows, at, encoded);
    columns.set(first, encoded, rows.length);
  };
  await replayLists(data, replay, Number.NEGATIVE_INFINITY, encode, onProgress);
  return columns;
}

/** Click probabilities of the test's rows by the service's ranker, run by the service; zeros before the test. [rows] */
export async function serveLists(
  data: Data,
  modelDir: string,
  seed: number,
  onProgress: (fraction: number) => void,
): Promise<Float32Array> {
  const replay = ebnerdService(data, seed);
  const pipeline = await ReplayedPipeline.open(replay.service, modelDir, { weights: WEIGHTS, retrieval: {} });
  const scores = new Float32Array(data.set.rows);
  const score = async (first: number, user: number, rows: Uint32Array, at: number) => {
    const probabilities = await pipeline.probabilities(user, rows, at);
    for (let i = 0; i < rows.length; i++) scores[first + i] = probabilities[i * HEADS.length + CLICK];
  };
  try {
    await replayLists(data, replay, data.set.testFromMs, score, onProgress);
  } finally {
    await pipeline.close();
  }
  return scores;
}
