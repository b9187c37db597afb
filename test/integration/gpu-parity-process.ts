// Ranks the same candidates on the CPU and on a device, in a process of its own, whose environment says which device.
// Arguments: a models folder, the provider. Prints one line of JSON. Started by gpu-parity.test.ts only.
import { join } from 'node:path';
import { messageOf } from '../../src/errors.ts';
import { FULL_WIDTH } from '../../src/features/feature-schema.ts';
import { loadModelArtifact } from '../../src/features/model-artifact.ts';
import { DeviceHost } from '../../src/ranking/device/device-host.ts';
import { DeviceLoop } from '../../src/ranking/device/device-loop.ts';
import { DeviceMemory, SLOT, stateIn } from '../../src/ranking/device/device-memory.ts';
import { DeviceModels } from '../../src/ranking/device/device-models.ts';
import { DeviceRanker } from '../../src/ranking/device/device-ranker.ts';
import { rowBuckets } from '../../src/ranking/device/row-buckets.ts';
import { promotedVersion } from '../../src/ranking/model-registry.ts';
import { OnnxRanker } from '../../src/ranking/onnx-ranker.ts';
import type { Provider } from '../../src/ranking/onnx-session.ts';
import { readRankerArtifact } from '../../src/ranking/ranker-artifact.ts';
import { ValueModel } from '../../src/ranking/value-model.ts';
import { HEADS } from '../../src/vocabulary.ts';
import { CATALOGUE, candidatesOf, inTime, QUERY } from '../unit/ranking/ranking-world.ts';

const ROWS = 32;
const VALUE = new ValueModel();
const rows = Uint32Array.from({ length: ROWS }, (_, i) => i * 31);

export interface Parity {
  model: string;
  /** Largest difference between a probability on the CPU and on the device. */
  fromCpu: number;
  /** Candidates whose place differs although their scores are apart by more than the tolerance. */
  misplaced: number;
  /** Largest difference of a candidate's probability in a batch of others' requests, padded, and alone. */
  fromAlone: number;
  /** Batches that the requests went in. */
  batches: { requests: number; rows: number; bucket: number }[];
}

const [modelsDir, provider] = process.argv.slice(2) as [string, Provider];

/** Through the worker thread, as a feed worker does. */
async function throughTheService(name: string, version: string): Promise<[number, number]> {
  const artifact = await loadModelArtifact(join(modelsDir, name, version));
  const host = new DeviceHost({ provider, modelsDir, workers: 1, rows: ROWS, columns: FULL_WIDTH });
  const opened = await host.open(name, version);
  if ('problem' in opened) throw new Error(opened.problem);
  const device = new DeviceRanker(artifact, provider, host.handle, opened.id);
  const cpu = await OnnxRanker.open(artifact, 'cpu', 'off');
  const [mine, theirs] = [
    await device.score(QUERY, CATALOGUE, candidatesOf(rows), inTime(), VALUE),
    await cpu.score(QUERY, CATALOGUE, candidatesOf(rows), inTime(), VALUE),
  ];
  await host.stop();
  await cpu.release();
  let difference = 0;
  let misplaced = 0;
  const placeOf = new Map(Array.from(theirs.candidate, (candidate, place) => [candidate, place]));
  for (let i = 0; i < ROWS; i++) {
    const at = placeOf.get(mine.candidate[i])! * HEADS.length;
    for (let h = 0; h < HEADS.length; h++) {
      const gap = Math.abs(mine.probabilities![i * HEADS.length + h] - theirs.probabilities![at + h]);
      difference = Math.max(difference, gap);
    }
    if (theirs.candidate[i] !== mine.candidate[i] && Math.abs(theirs.scores[i] - mine.scores[i]) > 1e-4) {
      misplaced++;
    }
  }
  return [difference, misplaced];
}

/** Three requests in one padded batch, then each of their rows alone. */
async function inCompany(name: string, version: string): Promise<Pick<Parity, 'fromAlone' | 'batches'>> {
  const artifact = await loadModelArtifact(join(modelsDir, name, version));
  const { encoder, user } = readRankerArtifact(artifact);
  const memory = DeviceMemory.create(4, ROWS, FULL_WIDTH, rowBuckets(ROWS * 2));
  const models = new DeviceModels(modelsDir, provider, memory);
  const batches: Parity['batches'] = [];
  await models.open(1, name, version);
  const loop = new DeviceLoop(
    memory,
    (model, batch) => models.run(model, batch),
    (event) => {
      if (event.kind === 'failed') throw event.error;
      if (event.kind === 'batch')
        batches.push({ requests: event.requests, rows: event.rows, bucket: event.bucket });
    },
  );
  const queue = (slot: number, from: number, to: number) => {
    const word = memory.claim(slot)!;
    encoder.begin(QUERY.user, CATALOGUE, { nowMs: QUERY.nowMs });
    encoder.encode(CATALOGUE, rows, from, to, memory.featuresOf(slot));
    if (user) encoder.encodeRequest(user, memory.userOf(slot));
    const request = { model: 1, rows: to - from, columns: encoder.width, userColumns: user?.width ?? 0 };
    memory.describe(slot, { ...request, deadlineAtMs: inTime() });
    memory.move(slot, word, SLOT.queued);
    memory.ring();
  };
  const answer = async (slot: number, count: number) => {
    while (stateIn(memory.read(slot)) !== SLOT.done) await new Promise((resolve) => setImmediate(resolve));
    const output = memory.outputOf(slot).slice(0, count * HEADS.length);
    memory.move(slot, memory.read(slot), SLOT.free);
    return output;
  };
  const parts = [
    [0, 10],
    [10, 27],
    [27, ROWS],
  ];
  for (const [slot, [from, to]] of parts.entries()) queue(slot, from, to);
  const serving = loop.serve();
  const together: number[] = [];
  for (const [slot, [from, to]] of parts.entries()) together.push(...(await answer(slot, to - from)));
  let fromAlone = 0;
  for (const row of [0, 9, 10, 26, 27, ROWS - 1]) {
    queue(3, row, row + 1);
    const alone = await answer(3, 1);
    for (let h = 0; h < HEADS.length; h++) {
      fromAlone = Math.max(fromAlone, Math.abs(alone[h] - together[row * HEADS.length + h]));
    }
  }
  loop.stop();
  await serving;
  await models.closeAll();
  return { fromAlone, batches: batches.slice(0, 1) };
}

try {
  const found: Parity[] = [];
  for (const name of ['ranker', 'ranker-light']) {
    const version = await promotedVersion(modelsDir, name);
    const [fromCpu, misplaced] = await throughTheService(name, version);
    found.push({ model: `${name}@${version}`, fromCpu, misplaced, ...(await inCompany(name, version)) });
  }
  process.stdout.write(`${JSON.stringify(found)}\n`);
} catch (error) {
  process.stderr.write(`\n${messageOf(error).replaceAll('\n', ' ')}\n`, () => process.exit(1));
}
