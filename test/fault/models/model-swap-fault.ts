// The ranker is swapped again and again while readers page through their feeds: no request may fail, every post of an
// answer is scored by the version that the answer names, and what was swapped out leaves no memory behind.

import { writeMarkedModel } from './bad-models.ts';
import { type FeedBody, startModelService, startReaders, until } from './model-service.ts';

export interface ModelSwapReport {
  swaps: number;
  answers: number;
  failures: string[];
  byModel: Record<string, number>;
  degraded: Record<string, number>;
  /** Milliseconds from the order to the answer that the new version serves everywhere. */
  swapMs: { median: number; max: number };
  /** Resident memory after the first tenth of the swaps and at the end, MB. */
  rssMb: { early: number; late: number };
}

const VERSIONS = 3;

export async function runModelSwaps(
  swaps: number,
  onSwap: (done: number) => void = () => {},
): Promise<ModelSwapReport> {
  // A slate of 50 makes readers cross from one slate to the next within a page.
  const world = await startModelService({ environment: { SLATE_SIZE: '50' } });
  const marks = new Map<string, number>();
  const times: number[] = [];
  let early = 0;
  try {
    const first = Number(world.first);
    for (let i = 1; i <= VERSIONS; i++) {
      const version = String(first + i);
      marks.set(`ranker@${version}`, i / 10);
      await writeMarkedModel(world.goodFolder, world.modelsDir, version, i / 10);
    }
    const promote = async (version: string) => {
      const { status, body } = await world.stage({ action: 'promote', version });
      if (status !== 200) throw new Error(`promote ${version}: ${status} ${JSON.stringify(body)}`);
    };
    // The checks of new versions are not what is measured here.
    for (let i = 1; i <= VERSIONS; i++) await promote(String(first + i));
    const readers = startReaders(world, {
      clients: 3,
      pages: 4,
      users: 1000,
      check: (page) => wrongMark(page, marks),
    });
    for (let i = 0; i < swaps; i++) {
      const version = String(first + 1 + (i % VERSIONS));
      const before = readers.answers;
      const began = performance.now();
      await promote(version);
      times.push(performance.now() - began);
      await until(() => readers.answers >= before + 4);
      if (i === Math.floor(swaps / 10)) early = settledRss();
      onSwap(i + 1);
    }
    await readers.stop();
    const late = settledRss();
    const { answers, failures } = readers;
    times.sort((a, b) => a - b);
    return {
      swaps,
      answers,
      failures,
      byModel: Object.fromEntries(readers.byModel),
      degraded: Object.fromEntries(readers.degraded),
      swapMs: { median: times[times.length >> 1], max: times[times.length - 1] },
      rssMb: { early, late },
    };
  } finally {
    await world.close();
  }
}

/** Every post carries the mark of the version that scored it. */
function wrongMark(page: FeedBody, marks: ReadonlyMap<string, number>): string | null {
  const mark = marks.get(page.model);
  if (mark === undefined) return page.degraded.length > 0 ? null : `an answer of ${page.model}`;
  for (const { explain } of page.posts) {
    const share = explain?.heads.find(({ head }) => head === 'share')?.probability;
    if (share === undefined || Math.abs(share - mark) > 1e-3) {
      return `a post with mark ${share} in an answer of ${page.model}`;
    }
  }
  return null;
}

function settledRss(): number {
  globalThis.gc?.();
  return Math.round(process.memoryUsage.rss() / 1e6);
}
