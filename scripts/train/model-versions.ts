// Version numbers of the models folder: the next one, how a new one enters, and which one serves.
import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomically } from '../../src/ranking/lifecycle/atomic-write.ts';
import { promote } from '../../src/ranking/lifecycle/stage-changes.ts';
import { readCurrent, versionsOf } from '../../src/ranking/model-registry.ts';

/** One above the highest version of all of these, so that what is trained together has one number. */
export async function nextVersion(modelsDir: string, names: readonly string[]): Promise<string> {
  await mkdir(modelsDir, { recursive: true });
  const versions = await Promise.all(names.map((name) => versionsOf(modelsDir, name)));
  return String(Math.max(0, ...versions.flat().map(Number)) + 1);
}

/**
 * Takes a finished version out of `staged` into the models folder. Where `on` it is promoted, with the version before as
 * the way back and a line in the history; else what served goes on serving. A first version serves in any case.
 */
export async function registerModel(
  modelsDir: string,
  staged: string,
  name: string,
  version: string,
  on: boolean,
): Promise<void> {
  // Pinned first: without a `current` the new folder would serve as soon as it appears.
  const before = await pin(modelsDir, name);
  await mkdir(join(modelsDir, name), { recursive: true });
  await rename(join(staged, name, version), join(modelsDir, name, version));
  if (on && before !== null) await promote({ modelsDir, name, by: 'trainer' }, version);
}

/** Writes down what serves, where only its being the highest says so. null when there is no version. */
async function pin(modelsDir: string, name: string): Promise<string | null> {
  const highest = (await versionsOf(modelsDir, name)).at(-1);
  if (highest === undefined) return null;
  const current = await readCurrent(modelsDir, name);
  if (current === null) await writeAtomically(join(modelsDir, name, 'current'), `${highest}\n`);
  return current ?? highest;
}
