import { execFile } from 'node:child_process';
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { withRegistryLock } from '../../../../src/ranking/lifecycle/registry-lock.ts';
import {
  armOf,
  parseExperiments,
  parseRolloutConfig,
} from '../../../../src/ranking/lifecycle/rollout-config.ts';
import { promote, refuse, rollBack, startTrial } from '../../../../src/ranking/lifecycle/stage-changes.ts';
import {
  appendHistory,
  modelState,
  readHistory,
  readRolloutState,
} from '../../../../src/ranking/lifecycle/stage-file.ts';
import { promotedVersion } from '../../../../src/ranking/model-registry.ts';

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'feedrank-stages-'));
  for (const version of ['1', '2', '3']) await mkdir(join(dir, 'ranker', version), { recursive: true });
});

afterEach(() => rm(dir, { recursive: true }));

const move = () => ({ modelsDir: dir, name: 'ranker', by: 'test' });
const state = async () => modelState(await readRolloutState(dir), 'ranker');

describe('stages', () => {
  it('pin what serves when a newcomer goes on trial, though it is the highest', async () => {
    await startTrial(move(), '3', 'shadow', 0);
    expect(await promotedVersion(dir, 'ranker')).toBe('2');
    expect((await state()).trial).toMatchObject({ version: '3', stage: 'shadow', share: 0 });
  });

  it('promote remembers the way back, and rollBack takes it once', async () => {
    await promote(move(), '1');
    await promote(move(), '2');
    expect(await state()).toMatchObject({ previous: '1', trial: null });
    await rollBack(move(), 'slow');
    expect(await promotedVersion(dir, 'ranker')).toBe('1');
    expect((await state()).refused['2'].reason).toBe('slow');
    await expect(rollBack(move(), 'again')).rejects.toMatchObject({ code: 'conflict' });
  });

  it('ends a trial without touching what serves', async () => {
    await promote(move(), '1');
    await startTrial(move(), '2', 'canary', 0.1);
    await rollBack(move(), 'score drift');
    expect(await state()).toMatchObject({ trial: null, refused: { 2: { reason: 'score drift' } } });
    expect(await promotedVersion(dir, 'ranker')).toBe('1');
    await startTrial(move(), '2', 'shadow', 0);
    expect((await state()).refused, 'staged again, it is no longer refused').toEqual({});
  });

  it('does not end a trial that began after the one that failed', async () => {
    await promote(move(), '1');
    await startTrial(move(), '2', 'shadow', 0);
    const { trial } = await state();
    await new Promise((resolve) => setTimeout(resolve, 5));
    await startTrial(move(), '2', 'canary', 0.1);
    expect(await rollBack(move(), 'of the shadow', '2', trial!.sinceMs)).toBeNull();
    expect((await state()).trial).toMatchObject({ stage: 'canary' });
    expect(await rollBack(move(), 'of the canary', '2', (await state()).trial!.sinceMs)).not.toBeNull();
  });

  it('puts the version that serves back when a promoted one is refused', async () => {
    await promote(move(), '1');
    await promote(move(), '3');
    await refuse(move(), '3', 'golden output differs', '1');
    expect(await promotedVersion(dir, 'ranker')).toBe('1');
    expect(await refuse(move(), '3', 'golden output differs', '1')).toBeNull();
  });

  it('moves a trial for the first of two replicas only', async () => {
    await promote(move(), '1');
    await startTrial(move(), '2', 'shadow', 0);
    const { trial } = await state();
    const moves = await Promise.all(
      [1, 2, 3].map(() => startTrial(move(), '2', 'canary', 0.05, { ...trial!, stage: 'shadow' })),
    );
    expect(moves.filter((entry) => entry !== null)).toHaveLength(1);
    expect(await promote(move(), '2', { expected: { ...trial! } }), 'not in shadow any more').toBeNull();
  });

  it.each([
    [
      'there is no version 9',
      () => startTrial(move(), '9', 'shadow', 0),
      'no version 9 of ranker, there is 1, 2, 3',
    ],
    ['the share is too large', () => startTrial(move(), '3', 'canary', 0.7), 'at most .5'],
    [
      'it serves',
      async () => promote(move(), '3').then(() => startTrial(move(), '3', 'shadow', 0)),
      'serves already',
    ],
  ])('refuse when %s', async (_, act, reason) => {
    await expect(act()).rejects.toThrow(reason);
  });

  it('refuse a trial of the only version', async () => {
    await rm(join(dir, 'ranker', '1'), { recursive: true });
    await rm(join(dir, 'ranker', '2'), { recursive: true });
    await expect(startTrial(move(), '3', 'shadow', 0)).rejects.toThrow('nothing to compare with');
  });
});

describe('the state file', () => {
  it('takes changes of many processes one at a time, and loses none', async () => {
    const url = (file: string) =>
      JSON.stringify(new URL(`../../../../src/ranking/lifecycle/${file}`, import.meta.url).href);
    const script = `
      const { startTrial } = await import(${url('stage-changes.ts')});
      for (let i = 0; i < 5; i++) {
        await startTrial({ modelsDir: process.argv[1], name: 'ranker', by: process.argv[2] }, '3', 'shadow', 0);
      }`;
    const run = (by: string) =>
      promisify(execFile)(process.execPath, ['--input-type=module', '-e', script, dir, by]);
    await Promise.all(['a', 'b', 'c'].map(run));
    expect((await readRolloutState(dir)).revision).toBe(15);
    const history = await readHistory([dir]);
    expect(history).toHaveLength(15);
    for (const by of ['a', 'b', 'c']) expect(history.filter((entry) => entry.by === by)).toHaveLength(5);
    expect((await readdir(dir)).sort()).toEqual(['history.jsonl', 'ranker', 'rollout.json']);
  });

  it('says what is wrong with it', async () => {
    await writeFile(join(dir, 'rollout.json'), '{"revision":1,"models":{"ranker":{"trial":{"version":3}}}}');
    await expect(readRolloutState(dir)).rejects.toMatchObject({ code: 'corrupt_artifact' });
    await expect(readRolloutState(dir)).rejects.toThrow(/rollout\.json: models\.ranker\.trial/);
  });

  it('keeps a history that a dying process tore', async () => {
    const note = (version: string) =>
      appendHistory(dir, {
        kind: 'index',
        name: 'index',
        version,
        action: 'refused',
        reason: 'torn',
        by: 'auto',
      });
    await note('v1');
    await appendFile(join(dir, 'history.jsonl'), '{"at":"2026-');
    await note('v2');
    expect((await readHistory([dir])).map(({ version }) => version)).toEqual(['v2', 'v1']);
    expect(await readHistory([dir], 1)).toHaveLength(1);
  });

  it('gives the histories of two folders as one, newest first', async () => {
    const other = join(dir, 'data');
    await mkdir(other);
    const line = (seconds: number, version: string) =>
      `${JSON.stringify({ at: `2026-01-01T00:00:0${seconds}.000Z`, kind: 'index', name: 'index', version, action: 'refused' })}\n`;
    await writeFile(join(dir, 'history.jsonl'), line(1, 'a') + line(3, 'c'));
    await writeFile(join(other, 'history.jsonl'), line(2, 'b') + line(4, 'd'));
    const versions = async (limit: number) =>
      (await readHistory([dir, other], limit)).map(({ version }) => version);
    expect(await versions(10)).toEqual(['d', 'c', 'b', 'a']);
    expect(await versions(2)).toEqual(['d', 'c']);
    expect(await readHistory([dir, dir])).toHaveLength(2);
  });

  it('takes over a lock whose holder is gone, and not one that is held', async () => {
    const path = join(dir, 'rollout.lock');
    await writeFile(path, JSON.stringify({ pid: 2 ** 22 + 1, host: (await import('node:os')).hostname() }));
    expect(await withRegistryLock(path, async () => 'done')).toBe('done');
    await writeFile(path, 'of another machine');
    const old = new Date(Date.now() - 60_000);
    await utimes(path, old, old);
    expect(await withRegistryLock(path, async () => readFile(path, 'utf8'))).toContain(
      `"pid":${process.pid}`,
    );
    const order: string[] = [];
    await Promise.all([
      withRegistryLock(path, async () => {
        order.push('first in');
        await new Promise((resolve) => setTimeout(resolve, 60));
        order.push('first out');
      }),
      new Promise((resolve) => setTimeout(resolve, 20)).then(() =>
        withRegistryLock(path, async () => order.push('second in')),
      ),
    ]);
    expect(order).toEqual(['first in', 'first out', 'second in']);
  });
});

describe('experiments', () => {
  const experiments = parseExperiments({
    name: 'weights',
    arms: [
      { name: 'likes', share: 0.3, weights: { like: 5 } },
      { name: 'old', share: 0.2, ranker: '2' },
    ],
  });

  it('give every user one arm for ever, by the shares', () => {
    const arms = Array.from({ length: 10_000 }, (_, i) => armOf(experiments, `user-${i}`)?.name ?? null);
    const share = (name: string | null) => arms.filter((arm) => arm === name).length / arms.length;
    expect(share('likes')).toBeCloseTo(0.3, 1);
    expect(share('old')).toBeCloseTo(0.2, 1);
    expect(share(null)).toBeCloseTo(0.5, 1);
    expect(armOf(null, 'user-1')).toBeNull();
  });

  it.each([
    [
      {
        name: 'x',
        arms: [
          { name: 'a', share: 0.7 },
          { name: 'b', share: 0.4 },
        ],
      },
      'experiments.arms: shares add up to 1.1',
    ],
    [
      {
        name: 'x',
        arms: [
          { name: 'a', share: 0.1 },
          { name: 'a', share: 0.1 },
        ],
      },
      'two arms are named a',
    ],
    [{ name: 'x', arms: [{ name: 'a', share: 0.1, weights: { love: 1 } }] }, 'experiments.arms.0.weights'],
    [{ name: 'x', arms: [{ name: 'A B', share: 0.1 }] }, 'experiments.arms.0.name'],
    [{ arms: [] }, 'experiments.name'],
  ])('refuse %o', (input, reason) => {
    expect(() => parseExperiments(input)).toThrow(reason);
  });

  it('refuse a gate that nobody has', () => {
    expect(() => parseRolloutConfig({ gates: { minHappiness: 1 } })).toThrow('rollout.gates');
    expect(parseRolloutConfig({ schedule: { shadowSamples: 5 } }).schedule.canarySlates).toBe(500);
  });
});
