import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadModelArtifact } from '../../../src/features/model-artifact.ts';
import { ChunkBoard, MAX_SHARED_ROWS, PHASE, SHARED_CHUNK_ROWS } from '../../../src/ranking/chunk-board.ts';
import { type ChunkModel, ForkJoin } from '../../../src/ranking/fork-join.ts';
import { OnnxRanker } from '../../../src/ranking/onnx-ranker.ts';
import { ValueModel } from '../../../src/ranking/value-model.ts';
import { HEADS } from '../../../src/vocabulary.ts';
import { rowRange } from '../features/catalogue.ts';
import { CATALOGUE, candidatesOf, inTime, QUERY } from './ranking-world.ts';
import { writeTinyModel } from './tiny-model.ts';

const KEY = 7;
const WIDTH = 3;
/** A run that is long enough to be shared. */
const MS_PER_ROW = 0.05;

type Behaviour = 'quick' | 'slow' | 'hangs' | 'fails' | 'late';
const DELAYS: Record<Exclude<Behaviour, 'hangs' | 'fails'>, number> = { quick: 0, slow: 3, late: 60 };

/** What any worker computes of a row: its first feature plus the user's. */
function outputs(features: Float32Array, rows: number, user: Float32Array | null): Float32Array {
  return Float32Array.from({ length: rows * HEADS.length }, (_, i) => {
    return features[Math.floor(i / HEADS.length) * WIDTH] + (user?.[0] ?? 0);
  });
}

function modelOf(behaviour: Behaviour): ChunkModel {
  return {
    run: async (features, rows, user) => {
      if (behaviour === 'hangs') return new Promise<never>(() => {});
      if (behaviour === 'fails') throw new Error('a model that fails');
      await new Promise((resolve) => setTimeout(resolve, DELAYS[behaviour]));
      return outputs(features, rows, user);
    },
    release: () => {},
  };
}

interface Ranked {
  values: (number | undefined)[];
  helped: number;
}

/** One request of `rows` rows whose first feature is `base` + row. Null where it was not to be shared. */
async function request(owner: ForkJoin, rows: number, base: number, lastsMs: number): Promise<Ranked | null> {
  const shape = { rows, width: WIDTH, userWidth: 1 };
  const room = owner.room(shape, MS_PER_ROW);
  if (room === null) return null;
  for (let i = 0; i < rows; i++) room.features[i * WIDTH] = base + i;
  room.user[0] = 0.5;
  const values: (number | undefined)[] = Array.from({ length: rows });
  const take = (from: number, to: number, probabilities: Float32Array) => {
    for (let i = from; i < to; i++) {
      expect(values[i]).toBeUndefined();
      values[i] = probabilities[(i - from) * HEADS.length];
    }
  };
  const helped = await owner.run({
    ...shape,
    key: KEY,
    msPerRow: MS_PER_ROW,
    own: async (from, to) => {
      await new Promise((resolve) => setTimeout(resolve, lastsMs));
      const part = room.features.slice(from * WIDTH, to * WIDTH);
      take(from, to, outputs(part, to - from, Float32Array.of(0.5)));
    },
    take,
    check: () => {},
  });
  return { values, helped };
}

function team(behaviours: Behaviour[]): { owner: ForkJoin; stop: () => void } {
  const board = new ChunkBoard(ChunkBoard.allocate(behaviours.length + 1));
  const owner = new ForkJoin(board);
  const helpers = behaviours.map((behaviour) => {
    const helper = new ForkJoin(board);
    helper.idle = true;
    void helper.help(
      (key) => (key === KEY ? modelOf(behaviour) : null),
      () => true,
    );
    return helper;
  });
  return { owner, stop: () => [owner, ...helpers].forEach((one) => void one.stop()) };
}

describe('fork-join', () => {
  it('gives every row once and rightly, whatever the helpers do, request after request', async () => {
    const behaviour = fc.constantFrom<Behaviour>('quick', 'slow', 'hangs', 'fails', 'late');
    await fc.assert(
      fc.asyncProperty(
        fc.array(behaviour, { minLength: 1, maxLength: 3 }),
        fc.array(
          fc.record({ rows: fc.integer({ min: 130, max: 700 }), ms: fc.integer({ min: 0, max: 3 }) }),
          {
            minLength: 1,
            maxLength: 3,
          },
        ),
        async (behaviours, requests) => {
          const { owner, stop } = team(behaviours);
          for (const [i, { rows, ms }] of requests.entries()) {
            const ranked = await request(owner, rows, 1000 * i, ms);
            // Sharing rests where it took longer than ranking alone; the first is always shared.
            if (i > 0 && ranked === null) continue;
            expect(ranked?.values).toEqual(Array.from({ length: rows }, (_, row) => 1000 * i + row + 0.5));
          }
          stop();
        },
      ),
      { numRuns: 25 },
    );
  }, 30_000);

  it('shares the work: a helper takes chunks from the back', async () => {
    const { owner, stop } = team(['quick']);
    const ranked = await request(owner, 8 * SHARED_CHUNK_ROWS, 0, 4);
    expect(ranked!.helped).toBeGreaterThan(0);
    expect(ranked!.helped).toBeLessThan(8 * SHARED_CHUNK_ROWS);
    stop();
  });

  it('keeps short runs, runs without an idle helper and what does not fit to itself', () => {
    const board = new ChunkBoard(ChunkBoard.allocate(2));
    const [owner, other] = [new ForkJoin(board), new ForkJoin(board)];
    const shape = { rows: 1000, width: WIDTH, userWidth: 0 };
    expect(owner.room(shape, MS_PER_ROW)).toBeNull();
    other.idle = true;
    expect(owner.room(shape, MS_PER_ROW)).not.toBeNull();
    expect(owner.room(shape, 0.0005)).toBeNull();
    expect(owner.room({ ...shape, rows: SHARED_CHUNK_ROWS }, 1)).toBeNull();
    expect(owner.room({ ...shape, rows: MAX_SHARED_ROWS + 1 }, MS_PER_ROW)).toBeNull();
    expect(owner.room({ ...shape, width: 1000 }, MS_PER_ROW)).toBeNull();
    other.idle = false;
    expect(owner.room(shape, MS_PER_ROW)).toBeNull();
    expect(new ForkJoin(board).room(shape, MS_PER_ROW), 'more workers than slots').toBeNull();
  });

  it('rests while shared runs take longer than the owner alone is expected to take, and is tried again', async () => {
    const { owner, stop } = team(['late']);
    const shape = { rows: 300, width: WIDTH, userWidth: 1 };
    const shared = () => request(owner, shape.rows, 0, 8);
    let runs = 0;
    while (runs < 20 && (await shared()) !== null) runs++;
    expect(runs).toBeGreaterThan(0);
    expect(runs).toBeLessThan(20);
    let rested = 0;
    while (rested < 200 && owner.room(shape, MS_PER_ROW) === null) rested++;
    expect(rested).toBeGreaterThan(50);
    expect(rested).toBeLessThan(200);
    stop();
  });

  it('has room for one request at a time: another that comes meanwhile is ranked alone', async () => {
    const { owner, stop } = team(['slow']);
    const first = request(owner, 600, 0, 2);
    expect(await request(owner, 600, 9000, 2)).toBeNull();
    expect((await first)!.values).toEqual(Array.from({ length: 600 }, (_, row) => row + 0.5));
    expect(await request(owner, 600, 9000, 2)).not.toBeNull();
    stop();
  });

  it('leaves nothing to claim after a request that ran out of time', async () => {
    const { owner, stop } = team(['hangs']);
    const shape = { rows: 1000, width: WIDTH, userWidth: 0 };
    owner.room(shape, MS_PER_ROW);
    const late = owner.run({
      ...shape,
      key: KEY,
      msPerRow: MS_PER_ROW,
      own: async () => {},
      take: () => {},
      check: (left) => {
        if (left < 600) throw new Error('late');
      },
    });
    await expect(late).rejects.toThrow('late');
    expect((await request(owner, 300, 5, 0))!.values).toHaveLength(300);
    stop();
  });

  it('does not let a helper of an earlier request touch a later one', () => {
    const board = new ChunkBoard(ChunkBoard.allocate(1));
    const slot = board.take()!;
    const first = slot.publish({ key: KEY, rows: 300, width: WIDTH, userWidth: 0 });
    expect(slot.move(first.epoch, 2, PHASE.free, PHASE.held)).toBe(true);
    expect(slot.move(first.epoch, 2, PHASE.held, PHASE.owned)).toBe(true);
    const second = slot.publish({ key: KEY, rows: 300, width: WIDTH, userWidth: 0 });
    expect(slot.move(first.epoch, 2, PHASE.held, PHASE.writing)).toBe(false);
    expect(slot.move(first.epoch, 1, PHASE.free, PHASE.held)).toBe(false);
    expect(slot.phase(first.epoch, 1)).toBeNull();
    expect(slot.phase(second.epoch, 1)).toBe(PHASE.free);
  });
});

describe('fork-join between threads', () => {
  let dir: string;
  let ranker: OnnxRanker;
  let helper: Worker;
  const candidates = candidatesOf(rowRange(0, 1000));
  const value = new ValueModel();

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'feedrank-fork-'));
    // As many products a row as a DCN of a million parameters has.
    const folder = await writeTinyModel(dir, { hidden: 1024 });
    ranker = await OnnxRanker.open(await loadModelArtifact(folder), 'cpu');
  });

  afterEach(async () => {
    await helper.terminate();
    await ranker.release();
    await rm(dir, { recursive: true });
  });

  async function helped(mode: 'helps' | 'hangs' | 'ends'): Promise<() => Promise<number>> {
    const board = ChunkBoard.allocate(2);
    const fork = new ForkJoin(new ChunkBoard(board));
    const script = new URL('./fork-join-worker.ts', import.meta.url);
    helper = new Worker(script, { workerData: { board, modelsDir: dir, mode } });
    await new Promise((resolve) => helper.once('message', resolve));
    ranker.shareBy(fork);
    return () =>
      new Promise<number>((resolve) => {
        helper.once('message', resolve);
        helper.postMessage('rows?');
      });
  }

  const rank = () => ranker.score(QUERY, CATALOGUE, candidates, inTime(), value);

  it('gives the scores that one worker alone gives', async () => {
    const alone = await rank();
    const rowsHelped = await helped('helps');
    for (let i = 0; i < 3; i++) {
      const together = await rank();
      expect(together.rows).toEqual(alone.rows);
      together.scores.forEach((score, at) => {
        expect(Math.abs(score - alone.scores[at])).toBeLessThan(1e-6);
      });
    }
    expect(await rowsHelped()).toBeGreaterThan(0);
  });

  it.each(['hangs', 'ends'] as const)(
    'answers in full when the helper %s in the middle of a chunk',
    async (mode) => {
      const alone = await rank();
      await helped(mode);
      for (let i = 0; i < 2; i++) expect((await rank()).rows).toEqual(alone.rows);
    },
  );
});
