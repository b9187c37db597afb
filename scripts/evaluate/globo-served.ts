// What the service itself reaches on the click stream: its sources over a catalogue that each click updates, its features
// of what they propose, a ranker trained on these, and its pipeline with it on the test. Called by globo.ts.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Post } from '../../src/contracts.ts';
import { packHashes } from '../../src/hashing.ts';
import { markTargets } from './globo-replay.ts';
import { type ClickStream, firstFrom, type ReplaySplit } from './globo-stream.ts';
import { ReplayedPipeline, replayedRetriever, UNTOUCHED } from './replay-pipeline.ts';
import { FeatureColumns, ReplayedService, SERVICE_FEATURES } from './replay-service.ts';
import { trainOnImpressions } from './replay-trainer.ts';
import { mulberry32 } from './retrieval-data.ts';

const CANDIDATES = 1000;
const TOP = 20;
const WEIGHTS = { click: 1, like: 0, reply: 0, share: 0, dwell: 0, negative: 0 };
/** Rows of a list that the ranker learns from: what was opened, and others of what was proposed. */
const LIST_ROWS = 40;
/** Lists before the validation, within it, and of the test for the trainer's own figure. */
const LISTS = { learn: 6000, validate: 2000, test: 500 };
/** Part of the period that only fills the counters. */
const WARM_UP = 0.3;
/** Clicks before the first request in which a session of it may have begun. */
const SESSION_CLICKS = 200_000;

export interface ServedClicks {
  targets: number;
  hr20: number;
  /** Part of the targets among the candidates of the sources. */
  'recall@1000': number;
  msPerRequest: number;
}

export interface ServedOptions {
  /** Targets of the test, drawn evenly; about so many. */
  targets: number;
  seed: number;
  threads: number;
  minutes: number;
  onProgress(fraction: number): void;
}

export async function serveClicks(
  stream: ClickStream,
  split: ReplaySplit,
  options: ServedOptions,
): Promise<ServedClicks> {
  const { seed, threads, minutes, onProgress } = options;
  const dir = await mkdtemp(join(tmpdir(), 'feedrank-globo-ranker-'));
  try {
    const folder = join(dir, 'ranker', '1');
    const set = await proposedLists(stream, split, seed, (f) => onProgress(f / 2));
    const exportTo = { folder, features: SERVICE_FEATURES };
    await trainOnImpressions(set, { listwise: true, seed, threads, minutes, exportTo });
    return await serve(stream, split, folder, options, (f) => onProgress(0.5 + f / 2));
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Targets of the stream in time, each with the items its session had opened before; then the clicks are applied. */
async function replayTargets(
  stream: ClickStream,
  service: ReplayedService,
  firstTarget: number,
  visit: (click: number, opened: readonly number[]) => void | Promise<void>,
  onProgress: (fraction: number) => void,
): Promise<void> {
  const { at, user, session, article, clicks } = stream;
  const marks = markTargets(stream);
  const sessions = new Map<number, number[]>();
  for (let start = 0; start < clicks; ) {
    let end = start + 1;
    while (end < clicks && at[end] === at[start]) end++;
    for (let click = Math.max(start, firstTarget); click < end; click++) {
      if (marks[click] === 0) continue;
      const visited = visit(click, sessions.get(session[click]) ?? []);
      if (visited) await visited;
    }
    for (let click = start; click < end; click++) {
      service.apply({ user: user[click], post: article[click], type: 'click', at: at[click] });
      if (click < firstTarget - SESSION_CLICKS) continue;
      const opened = sessions.get(session[click]);
      if (opened) opened.push(article[click]);
      else sessions.set(session[click], [article[click]]);
    }
    if (start % 4096 < end - start) onProgress(end / clicks);
    start = end;
  }
  onProgress(1);
}

/** Lists of what the service's sources propose at some targets, with its features, for the trainer. */
async function proposedLists(
  stream: ClickStream,
  split: ReplaySplit,
  seed: number,
  onProgress: (fraction: number) => void,
) {
  const { at, user, article, clicks } = stream;
  const service = new ReplayedService(postsOf(stream), seed);
  const retriever = await replayedRetriever(service, {});
  const random = mulberry32(seed + 3000);
  const marks = markTargets(stream);
  const bounds = [at[0] + WARM_UP * (split.testFromMs - at[0]), split.validationFromMs, split.testFromMs];
  const [first, validation, test] = bounds.map((ms) => firstFrom(at, ms));
  const shareOf = (lists: number, from: number, end: number) =>
    lists /
    Math.max(
      1,
      marks.subarray(from, end).reduce((a, b) => a + b, 0),
    );
  const shares = {
    learn: shareOf(LISTS.learn, first, validation),
    validate: shareOf(LISTS.validate, validation, test),
    test: shareOf(LISTS.test, test, clicks),
  };
  const { width } = service.encoder;
  const lists: { click: number; encoded: Float32Array; rows: number }[] = [];
  const visit = (click: number, opened: readonly number[]) => {
    const share = click < validation ? shares.learn : click < test ? shares.validate : shares.test;
    if (random() >= share) return;
    const query = service.query(user[click], at[click], CANDIDATES, 0);
    query.exclude = packHashes(opened.map(String));
    const { candidates } = retriever.retrieve(query, service.table);
    const target = service.rowOf(article[click]);
    if (candidates.rows.indexOf(target) < 0 || candidates.size < 2) return;
    const rows = new Uint32Array(Math.min(LIST_ROWS, candidates.size)).fill(target);
    for (let i = 1; i < rows.length; i++) {
      do rows[i] = candidates.rows[Math.floor(random() * candidates.size)];
      while (rows[i] === target);
    }
    const encoded = new Float32Array(rows.length * width);
    service.encode(user[click], rows, at[click], encoded);
    lists.push({ click, encoded, rows: rows.length });
  };
  await replayTargets(stream, service, first, visit, onProgress);

  const rows = lists.reduce((sum, list) => sum + list.rows, 0);
  const numbers = new FeatureColumns(width, rows);
  const group = new Int32Array(rows);
  const times = new Float64Array(rows);
  const readers = new Int32Array(rows);
  const clicked = new Uint8Array(rows);
  let next = 0;
  lists.forEach((list, g) => {
    numbers.set(next, list.encoded, list.rows);
    group.fill(g, next, next + list.rows);
    times.fill(at[list.click], next, next + list.rows);
    readers.fill(user[list.click], next, next + list.rows);
    clicked[next] = 1;
    next += list.rows;
  });
  const labels = [{ name: 'click', values: clicked }];
  return { rows, at: times, group, user: readers, numbers, ids: [], labels, ...split };
}

async function serve(
  stream: ClickStream,
  split: ReplaySplit,
  modelDir: string,
  { targets, seed }: ServedOptions,
  onProgress: (fraction: number) => void,
): Promise<ServedClicks> {
  const { at, user, article, clicks } = stream;
  const service = new ReplayedService(postsOf(stream), seed);
  const pipeline = await ReplayedPipeline.open(service, modelDir, { weights: WEIGHTS, retrieval: {} });
  const from = firstFrom(at, split.testFromMs);
  const marks = markTargets(stream);
  const share =
    targets /
    Math.max(
      1,
      marks.subarray(from, clicks).reduce((a, b) => a + b, 0),
    );
  const random = mulberry32(seed + 4000);
  const sums = { asked: 0, found: 0, hits: 0, ms: 0 };
  const visit = async (click: number, opened: readonly number[]) => {
    if (random() >= share) return;
    const began = performance.now();
    const exclude = packHashes(opened.map(String));
    const { posts } = await pipeline.feed(user[click], at[click], CANDIDATES, CANDIDATES, UNTOUCHED, exclude);
    sums.ms += performance.now() - began;
    const id = String(article[click]);
    const place = posts.findIndex(({ postId }) => postId === id);
    sums.asked++;
    if (place >= 0) sums.found++;
    if (place >= 0 && place < TOP) sums.hits++;
  };
  try {
    await replayTargets(stream, service, from, visit, onProgress);
  } finally {
    await pipeline.close();
  }
  const n = Math.max(1, sums.asked);
  return {
    targets: sums.asked,
    hr20: sums.hits / n,
    'recall@1000': sums.found / n,
    msPerRequest: sums.ms / n,
  };
}

/** Articles as posts of nobody: the stream has no more than their number. They appear with their first click. */
function postsOf({ articles, article, at, clicks }: ClickStream): Post[] {
  const posts: Post[] = new Array(articles);
  for (let click = 0; click < clicks; click++) {
    const item = article[click];
    posts[item] ??= { id: String(item), authorId: 'unknown', createdAt: at[click] };
  }
  return posts;
}
