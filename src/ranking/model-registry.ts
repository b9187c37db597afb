// Finds and opens the rankers of a models folder: `<dir>/<name>/<version>/`, promoted by `<name>/current` or else the
// highest version. What cannot be served is named, never silently replaced. Called by feed workers at their start.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FeedrankError, messageOf } from '../errors.ts';
import { loadModelArtifact } from '../features/model-artifact.ts';
import { OnnxRanker, type Provider } from './onnx-ranker.ts';
import { RankerLadder } from './ranker-ladder.ts';

export const MAIN_RANKER = 'ranker';
export const LIGHT_RANKER = 'ranker-light';
const VERSION = /^[1-9]\d{0,8}$/;

export interface OpenLadderOptions {
  modelsDir: string;
  provider: Provider;
  /** Post tower of the catalogue, `post-tower@1`; absent = not compared. */
  tower?: string;
}

export interface OpenedLadder {
  ladder: RankerLadder;
  /** Everything a ready check must name; empty = the promoted models serve on the configured provider. */
  problems: string[];
  /** `ranker@1 on cpu`, … */
  models: string[];
}

/**
 * Version that serves: the content of `<name>/current`, else the highest number.
 * @throws FeedrankError(not_found) when there is none, (corrupt_artifact) when `current` names no version.
 */
export async function promotedVersion(modelsDir: string, name: string): Promise<string> {
  const dir = join(modelsDir, name);
  let current: string | undefined;
  try {
    current = (await readFile(join(dir, 'current'), 'utf8')).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const versions = await versionsOf(modelsDir, name);
  if (current !== undefined) {
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
): Promise<OnnxRanker> {
  const chosen = version ?? (await promotedVersion(modelsDir, name));
  return OnnxRanker.open(await loadModelArtifact(join(modelsDir, name, chosen)), provider);
}

/** Opens both models; a provider that cannot load is named and the CPU takes its place. Never throws for a model. */
export async function openLadder(options: OpenLadderOptions): Promise<OpenedLadder> {
  const problems: string[] = [];
  const main = await tryOpen(options, MAIN_RANKER, options.provider, problems);
  // The light model is what serves when the device is in trouble: it stays on the CPU.
  const light = await tryOpen(options, LIGHT_RANKER, 'cpu', problems);
  const models = [main, light].flatMap((ranker) => (ranker ? [`${ranker.model} on ${ranker.provider}`] : []));
  return { ladder: new RankerLadder({ main, light }), problems, models };
}

async function tryOpen(
  { modelsDir, tower }: OpenLadderOptions,
  name: string,
  provider: Provider,
  problems: string[],
): Promise<OnnxRanker | null> {
  let ranker: OnnxRanker;
  try {
    ranker = await openRanker(modelsDir, name, provider);
  } catch (error) {
    problems.push(messageOf(error));
    const providerFailed =
      error instanceof FeedrankError && error.code === 'unavailable' && provider !== 'cpu';
    return providerFailed ? tryOpen({ modelsDir, tower, provider }, name, 'cpu', problems) : null;
  }
  if (tower === undefined || ranker.tower === undefined || ranker.tower === tower) return ranker;
  if (ranker.needsTower) {
    problems.push(
      `model ${ranker.model}: trained on ${ranker.tower}, the catalogue has ${tower}; not served`,
    );
    await ranker.release();
    return null;
  }
  problems.push(
    `model ${ranker.model}: trained on ${ranker.tower}, the catalogue has ${tower}; train it again`,
  );
  return ranker;
}
