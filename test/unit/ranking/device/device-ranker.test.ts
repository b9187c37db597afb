import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { FULL_WIDTH } from '../../../../src/features/feature-schema.ts';
import { loadModelArtifact } from '../../../../src/features/model-artifact.ts';
import { DeviceHost, type OpenedModel } from '../../../../src/ranking/device/device-host.ts';
import { DeviceMemory } from '../../../../src/ranking/device/device-memory.ts';
import type { WorkerEvent } from '../../../../src/ranking/device/device-protocol.ts';
import { DeviceRanker } from '../../../../src/ranking/device/device-ranker.ts';
import { OnnxRanker } from '../../../../src/ranking/onnx-ranker.ts';
import type { Provider } from '../../../../src/ranking/onnx-session.ts';
import { RankerShelf } from '../../../../src/ranking/ranker-shelf.ts';
import { ValueModel } from '../../../../src/ranking/value-model.ts';
import { rowRange, testUser } from '../../features/catalogue.ts';
import { CANDIDATES, CATALOGUE, candidatesOf, inTime, QUERY } from '../ranking-world.ts';
import { TINY_FEATURES, writeTinyModel } from '../tiny-model.ts';

const VALUE = new ValueModel();
const hosts: DeviceHost[] = [];
let modelsDir: string;

beforeAll(async () => {
  modelsDir = await mkdtemp(join(tmpdir(), 'feedrank-device-'));
  await writeTinyModel(modelsDir);
  await writeTinyModel(modelsDir, { version: '2', weights: new Float32Array(72).fill(0.1) });
  await writeTinyModel(modelsDir, { version: '3', golden: 0.123 });
  const perRequest = ['user_mix@1', 'context_hour@1'];
  await writeTinyModel(modelsDir, { version: '4', features: [...perRequest, ...TINY_FEATURES], perRequest });
});

afterAll(async () => {
  await rm(modelsDir, { recursive: true });
});

afterEach(async () => {
  for (const host of hosts.splice(0)) await host.stop();
});

function start(options: { provider?: Provider; script?: URL; rows?: number } = {}) {
  const events: WorkerEvent[] = [];
  const { provider = 'cpu', rows = 500, ...rest } = options;
  const host = new DeviceHost({
    provider,
    modelsDir,
    workers: 2,
    rows,
    columns: FULL_WIDTH,
    onEvent: (event) => events.push(event),
    ...rest,
  });
  hosts.push(host);
  return { host, events };
}

async function rankerOn(host: DeviceHost, opened: OpenedModel, version = '1'): Promise<DeviceRanker> {
  if ('problem' in opened) throw new Error(opened.problem);
  const artifact = await loadModelArtifact(join(modelsDir, 'ranker', version));
  return new DeviceRanker(artifact, host.provider, host.handle, opened.id);
}

const score = (ranker: DeviceRanker | OnnxRanker, query = QUERY, deadlineAtMs = inTime()) =>
  ranker.score(query, CATALOGUE, CANDIDATES, deadlineAtMs, VALUE);

describe('device ranker', () => {
  it.each([
    ['1', 'that reads everything with each candidate'],
    ['4', 'with an input of its own for the user'],
  ])(
    'ranks by version %s, %s, as a feed worker does, also what needs more than one request',
    async (version) => {
      const { host } = start();
      const ranker = await rankerOn(host, await host.open('ranker', version), version);
      const alone = await OnnxRanker.open(await loadModelArtifact(join(modelsDir, 'ranker', version)), 'cpu');
      const other = { ...QUERY, user: testUser([], 77) };
      for (const query of [QUERY, other]) {
        const [device, expected] = [await score(ranker, query), await score(alone, query)];
        expect(device.rows).toEqual(expected.rows);
        expect(device.scores).toEqual(expected.scores);
        expect(device.probabilities).toEqual(expected.probabilities);
      }
      await alone.release();
      const none = candidatesOf(rowRange(0, 0));
      expect((await ranker.score(QUERY, CATALOGUE, none, inTime(), VALUE)).size).toBe(0);
    },
  );

  it('has several models open, names one that is open already, and closes what is not kept', async () => {
    const { host } = start();
    const first = await host.open('ranker', '1');
    const second = await host.open('ranker', '2');
    expect(second).not.toEqual(first);
    expect(await host.open('ranker', '1')).toEqual(first);
    const ranker = await rankerOn(host, first);
    await score(await rankerOn(host, second, '2'));
    await host.keepOnly('ranker', ['2']);
    await expect(score(ranker)).rejects.toMatchObject({
      code: 'unavailable',
      message: 'ranker@1 failed on the device',
    });
    const again = await host.open('ranker', '1');
    expect(again).not.toEqual(first);
    await score(await rankerOn(host, again));
  });

  it('turns a request away before it is encoded when it would not be answered in time', async () => {
    const { host } = start();
    const ranker = await rankerOn(host, await host.open('ranker', '1'));
    await expect(score(ranker, QUERY, Date.now() - 1)).rejects.toMatchObject({ code: 'timeout' });
    expect((await score(ranker)).size).toBe(600);
  });

  it('tries again after a while where one batch took far too long', async () => {
    const { host } = start();
    const opened = await host.open('ranker', '1');
    const ranker = await rankerOn(host, opened);
    const memory = new DeviceMemory(host.handle);
    const { id } = opened as { id: number };
    for (const rows of host.handle.buckets) memory.setCostMs(id, rows, 60_000);
    let refused = 0;
    for (; refused < 2000; refused++) {
      const done = await score(ranker, QUERY, Date.now() + 3000).catch(() => null);
      if (done) break;
    }
    expect(refused).toBeGreaterThan(50);
    expect(refused).toBeLessThan(1000);
    expect(host.turnedAway).toBe(refused);
  });

  it('refuses a version whose golden outputs the device does not reproduce', async () => {
    const { host } = start();
    expect(await host.open('ranker', '3')).toMatchObject({
      code: 'unavailable',
      problem: expect.stringContaining(
        'execution provider cpu cannot run ranker@3: golden output probabilities[0] is',
      ),
    });
  });

  it('is never replaced by the CPU in silence: problem and answers name it', async () => {
    const { host } = start({ provider: 'cuda' });
    const opened = await host.open('ranker', '1');
    if (!('problem' in opened)) return console.log('skipped: this machine has the CUDA provider');
    expect(opened).toMatchObject({ code: 'unavailable' });
    expect(opened.problem).toMatch(/^execution provider cuda cannot run ranker@1: /);
    const shelf = new RankerShelf({ modelsDir, provider: 'cuda', device: host.handle });
    const plan = { serving: '1', light: null, others: [], device: { 1: opened } };
    const report = await shelf.apply(plan);
    expect(report).toMatchObject({ models: ['ranker@1 on cpu'], problems: [opened.problem], refused: [] });
    const lease = shelf.lease();
    const { degraded } = await lease.ladder.rank(QUERY, CATALOGUE, CANDIDATES, inTime(), VALUE);
    expect(degraded).toEqual(['ranker_on_cpu']);
    lease.release();
    await shelf.apply({ serving: null, light: null, others: [] });
  });

  it('is late while its worker is down, and ranks again with the one that replaces it', async () => {
    const script = new URL('../../workers/dying-device-worker.ts', import.meta.url);
    const { host } = start({ script });
    const ranker = await rankerOn(host, await host.open('ranker', '1'));
    await host.open('ranker', '2');
    await score(ranker);
    await host.keepOnly('ranker', ['1']);
    expect(host.problems()).toEqual(['device cpu: its worker is down']);
    await expect(score(ranker)).rejects.toMatchObject({
      code: 'timeout',
      message: 'ranker@1: the device worker is down',
    });
    await until(async () => (await score(ranker).catch(() => null)) !== null);
    expect(host.problems()).toEqual([]);
  });
});

async function until(done: () => Promise<boolean>): Promise<void> {
  while (!(await done())) await new Promise((resolve) => setTimeout(resolve, 10));
}
