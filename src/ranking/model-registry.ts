// Finds and opens the rankers of a models folder: `<dir>/<name>/<version>/`, promoted by `<name>/current` or else the
// highest version. What cannot be served is named, never silently replaced. Called by ranker-shelf.ts and the commands.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FeedrankError, messageOf } from '../errors.ts';
import { loadModelArtifact } from '../features/model-artifact.ts';
import type { OpenedModel } from './device/device-host.ts';
import type { DeviceHandle } from './device/device-memory.ts';
import { DeviceRanker } from './device/device-ranker.ts';
import { OnnxRanker } from './onnx-ranker.ts';
import type { Provider } from './onnx-session.ts';
import type { ServableRanker } from './ranker.ts';
import type { Int8Choice } from './ranker-session.ts';

export const MAIN_RANKER = 'ranker';
export const LIGHT_RANKER = 'ranker-light';
const VERSION = /^[1-9]\d{0,8}$/;

export interface RankerSource {
  modelsDir: string;
  provider: Provider;
  /** Post tower of the catalogue, `post-tower@1`; absent = not compared. */
  tower?: string;
  /** The device worker's memory, where the provider is not the CPU. */
  device?: DeviceHandle;
  /** Which form serves on the CPU; absent = as the manifest says. */
  int8?: Int8Choice;
  /** Candidates that the light ranker leaves to the main one, 0 = all; absent = as the main one's manifest says. */
  preRank?: number;
  /** Where feed workers share a request's rows (chunk-board.ts); absent = they do not. */
  board?: SharedArrayBuffer;
}

/**
 * Version that serves: the content of `<name>/current`, else the highest number.
 * @throws FeedrankError(not_found) when there is none, (corrupt_artifact) when `current` names no version.
 */
export async function promotedVersion(modelsDir: string, name: string): Promise<string> {
  const current = await readCurrent(modelsDir, name);
  const versions = await versionsOf(modelsDir, name);
  if (current !== null) {
    if (versions.includes(current)) return current;
    throw new FeedrankError(
      'corrupt_artifact',
      `model ${name}: current names ${JSON.stringify(current.slice(0, 40))}, there is ${versions.join(', ') || 'none'}`,
    );
  }
  const highest = versions.at(-1);
  if (highest === undefined)
    throw new FeedrankError('not_found', `model ${name}: no version in the models folder`);
  return highest;
}

/** What `<name>/current` says, unchecked; null where there is none. */
export async function readCurrent(modelsDir: string, name: string): Promise<string | null> {
  try {
    return (await readFile(join(modelsDir, name, 'current'), 'utf8')).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** Folder of the version that serves. Throws as `promotedVersion`. */
export async function promotedFolder(modelsDir: string, name: string): Promise<string> {
  return join(modelsDir, name, await promotedVersion(modelsDir, name));
}

/** Versions of a model, rising. */
export async function versionsOf(modelsDir: string, name: string): Promise<string[]> {
  const entries = await readdir(join(modelsDir, name)).catch(() => []);
  return entries.filter((entry) => VERSION.test(entry)).sort((a, b) => Number(a) - Number(b));
}

/** Opens the promoted (or the given) version. Throws what loading, verifying or the provider throws. */
export async function openRanker(
  modelsDir: string,
  name: string,
  provider: Provider,
  version?: string,
  int8?: Int8Choice,
): Promise<OnnxRanker> {
  const chosen = version ?? (await promotedVersion(modelsDir, name));
  return OnnxRanker.open(await loadModelArtifact(join(modelsDir, name, chosen)), provider, int8);
}

/**
 * Opens a version for serving; a provider that cannot load is named in `problems` and the CPU takes its place, and so
 * is a version of another post space that can be served all the same.
 * @throws what loading and verifying throw; FeedrankError(corrupt_artifact) for a version of another post space whose
 * features read single coordinates.
 */
export async function openServable(
  source: RankerSource,
  name: string,
  version: string,
  problems: string[],
  opened?: OpenedModel,
): Promise<ServableRanker> {
  const { modelsDir, provider, tower } = source;
  let ranker: ServableRanker;
  try {
    ranker =
      provider === 'cpu'
        ? await openRanker(modelsDir, name, provider, version, source.int8)
        : await openOnDevice(source, name, version, opened);
  } catch (error) {
    const providerFailed =
      error instanceof FeedrankError && error.code === 'unavailable' && provider !== 'cpu';
    if (!providerFailed) throw error;
    problems.push(messageOf(error));
    return openServable({ ...source, provider: 'cpu' }, name, version, problems);
  }
  if (ranker.problem) problems.push(ranker.problem);
  if (tower === undefined || ranker.tower === undefined || ranker.tower === tower) return ranker;
  const mismatch = `model ${ranker.model}: trained on ${ranker.tower}, the catalogue has ${tower}`;
  if (ranker.needsTower) {
    await ranker.release();
    throw new FeedrankError('corrupt_artifact', `${mismatch}; not served`);
  }
  problems.push(`${mismatch}; train it again`);
  return ranker;
}

/** @throws FeedrankError as the device refused the version; (unavailable) where there is no device. */
async function openOnDevice(
  { modelsDir, provider, device }: RankerSource,
  name: string,
  version: string,
  opened: OpenedModel | undefined,
): Promise<DeviceRanker> {
  if (!device || !opened) {
    throw new FeedrankError(
      'unavailable',
      `execution provider ${provider} has no device for ${name}@${version}`,
    );
  }
  if ('problem' in opened) throw new FeedrankError(opened.code, opened.problem);
  const artifact = await loadModelArtifact(join(modelsDir, name, version));
  return new DeviceRanker(artifact, provider, device, opened.id);
}
