// The models that the device has open: verified, probed against their golden outputs and warmed in every bucket before
// a feed worker hears of them. Called by device-worker.ts.
import { join } from 'node:path';
import type { InferenceSession } from 'onnxruntime-node';
import { FeedrankError, messageOf } from '../../errors.ts';
import { loadModelArtifact, probeGolden } from '../../features/model-artifact.ts';
import { createRankerSession, type Provider, runRows } from '../onnx-session.ts';
import { readRankerArtifact } from '../ranker-artifact.ts';
import type { Batch } from './device-loop.ts';
import type { DeviceMemory } from './device-memory.ts';

/**
 * How far a device's probabilities may be from the golden ones of the CPU: matrix units multiply float32 with 10 bits
 * of mantissa (TF32), 2⁻¹¹ a product. On units that keep all bits the difference is some 1e-7.
 */
export const DEVICE_TOLERANCE = 2e-3;

interface OpenModel {
  model: string;
  columns: number;
  /** 0 where it has no input of its own for the user. */
  userColumns: number;
  session: InferenceSession;
}

export class DeviceModels {
  readonly #modelsDir: string;
  readonly #provider: Provider;
  readonly #memory: DeviceMemory;
  readonly #open = new Map<number, OpenModel>();

  constructor(modelsDir: string, provider: Provider, memory: DeviceMemory) {
    this.#modelsDir = modelsDir;
    this.#provider = provider;
    this.#memory = memory;
  }

  /**
   * Blocks its thread while it loads, and lets requests through between the runs that warm it.
   * @throws FeedrankError(corrupt_artifact) for a folder that is no ranker; (unavailable) naming the provider when it
   * does not run the model, or gives other numbers than its golden ones.
   */
  async open(id: number, name: string, version: string): Promise<void> {
    const artifact = await loadModelArtifact(join(this.#modelsDir, name, version));
    const { model, encoder, user } = readRankerArtifact(artifact);
    const session = await createRankerSession(artifact.bytes, model, this.#provider);
    try {
      const open = { model, columns: encoder.width, userColumns: user?.width ?? 0, session };
      await this.#warm(id, open);
      const tolerance = Math.max(artifact.golden.tolerance, DEVICE_TOLERANCE);
      await probeGolden(session, { ...artifact.golden, tolerance });
      this.#open.set(id, open);
    } catch (error) {
      await session.release();
      // Whether the file is to blame tells the CPU, which takes its place.
      throw new FeedrankError(
        'unavailable',
        `execution provider ${this.#provider} cannot run ${model}: ${messageOf(error)}`,
      );
    }
  }

  async close(id: number): Promise<void> {
    const open = this.#open.get(id);
    this.#open.delete(id);
    await open?.session.release();
  }

  async closeAll(): Promise<void> {
    for (const id of [...this.#open.keys()]) await this.close(id);
  }

  /** @throws FeedrankError(unavailable) for a model that is not open, another width, or a run that failed. */
  async run(id: number, batch: Batch): Promise<Float32Array> {
    const open = this.#open.get(id);
    if (!open) throw new FeedrankError('unavailable', `model ${id} is not open on the device`);
    const { model, columns, userColumns } = open;
    if (columns !== batch.columns || userColumns !== batch.userColumns) {
      throw new FeedrankError(
        'unavailable',
        `${model} reads ${columns} + ${userColumns} columns, not ${batch.columns} + ${batch.userColumns}`,
      );
    }
    return runBatch(open, batch);
  }

  /** The first run of a shape compiles and allocates; the second tells what it costs. */
  async #warm(id: number, open: OpenModel): Promise<void> {
    const { buckets } = this.#memory.handle;
    for (const rows of buckets) {
      const features = new Float32Array(rows * open.columns);
      const users = new Float32Array(rows * open.userColumns);
      const batch = { features, rows, columns: open.columns, users, userColumns: open.userColumns };
      await runBatch(open, batch);
      const began = performance.now();
      await runBatch(open, batch);
      this.#memory.setCostMs(id, rows, performance.now() - began);
    }
  }
}

function runBatch({ session, model }: OpenModel, batch: Batch): Promise<Float32Array> {
  const { features, rows, columns, users, userColumns } = batch;
  return runRows(session, model, features, rows, columns, userColumns > 0 ? users : null, rows);
}
