// Version numbers of the models folder: the next one, how a new one enters, and which one serves.
import { mkdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomically } from '../../src/ranking/lifecycle/atomic-write.ts';
import { versionsOf } from '../../src/ranking/model-registry.ts';

/** One above the highest version of all of these, so that what is trained together has one number. */
export async function nextVersion(modelsDir: string, names: readonly string[]): Promise<string> {
  await mkdir(modelsDir, { recursive: true });
  const versions = await Promise.all(names.map((name) => versionsOf(modelsDir, name)));
  return String(Math.max(0, ...versions.flat().map(Number)) + 1);
}

/** Takes a finished version out of `staged` into the models folder, and makes it serve where `on`. */
export async function registerModel(
  modelsDir: string,
  staged: string,
  name: string,
  version: string,
  on: boolean,
): Promise<void> {
  // Pinned first: without a `current` the new folder would serve as soon as it appears.
  if (!on) await promote(modelsDir, name, version, on);
  await mkdir(join(modelsDir, name), { recursive: true });
  await rename(join(staged, name, version), join(modelsDir, name, version));
  if (on) await promote(modelsDir, name, version, on);
}

/**
 * Makes a new version the one that serves, or, with `on` false, the one that served before it. Without a `current`
 * file the highest version serves, so the file is written only where that would be another one.
 */
export async function promote(modelsDir: string, name: string, version: string, on: boolean): Promise<void> {
  const file = join(modelsDir, name, 'current');
  const current = await readFile(file, 'utf8').catch(() => null);
  const before = (await versionsOf(modelsDir, name)).filter((other) => other !== version).at(-1);
  if (on ? current === null : current !== null || before === undefined) return;
  await writeAtomically(file, `${on ? version : before}\n`);
}
