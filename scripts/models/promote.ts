// The two commands that change the models folder. Both are atomic for a service that reads it at the same time:
// `current` appears by rename, a version leaves by rename before its files go.
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { FeedrankError } from '../../src/errors.ts';
import { promotedVersion, versionsOf } from '../../src/ranking/model-registry.ts';
import { type ModelRef, verifyModel } from './model-folder.ts';

export interface Promotion extends ModelRef {
  /** What was served before; null when that could not be read. */
  from: string | null;
  /** What a person should know, though the version can serve. */
  warnings: string[];
}

/** Verifies, then makes the version the one that serves. @throws what verifying throws; `current` is then as it was. */
export async function promoteModel(modelsDir: string, ref: ModelRef): Promise<Promotion> {
  const manifest = await verifyModel(modelsDir, ref);
  const from = await promotedVersion(modelsDir, ref.name).catch(() => null);
  const warnings: string[] = [];
  if (manifest.tower !== undefined) {
    const [tower] = manifest.tower.split('@');
    const serving = await promotedVersion(modelsDir, tower).catch(() => null);
    if (manifest.tower !== `${tower}@${serving}`) {
      warnings.push(
        `was trained on ${manifest.tower}, promoted is ${serving === null ? 'none' : `${tower}@${serving}`}`,
      );
    }
  }
  await writeAtomically(join(modelsDir, ref.name, 'current'), `${ref.version}\n`);
  return { ...ref, from, warnings };
}

/** Written beside, flushed and renamed: a reader sees the old content or the new, also after a power cut. */
async function writeAtomically(path: string, text: string): Promise<void> {
  const beside = `${path}.${process.pid}.new`;
  const file = await open(beside, 'w');
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(beside, path);
}

export interface Collection {
  name: string;
  promoted: string;
  kept: string[];
  removed: string[];
}

/**
 * Removes all but the `keep` newest versions and the promoted one; with `dryRun` only says which.
 * @throws FeedrankError when it is unclear which version is promoted.
 */
export async function collectVersions(
  modelsDir: string,
  name: string,
  keep: number,
  dryRun: boolean,
): Promise<Collection> {
  const promoted = await promotedVersion(modelsDir, name);
  const versions = await versionsOf(modelsDir, name);
  const newest = versions.slice(Math.max(0, versions.length - keep));
  const removed = versions.filter((version) => version !== promoted && !newest.includes(version));
  if (!dryRun) for (const version of removed) await removeVersion(modelsDir, name, version);
  return { name, promoted, kept: versions.filter((version) => !removed.includes(version)), removed };
}

async function removeVersion(modelsDir: string, name: string, version: string): Promise<void> {
  // Promoted since the choice was made: it stays.
  const current = await readFile(join(modelsDir, name, 'current'), 'utf8').catch(() => '');
  if (current.trim() === version) {
    throw new FeedrankError('conflict', `${name}@${version} was promoted meanwhile; nothing more is removed`);
  }
  const bin = join(modelsDir, name, `.removed-${process.pid}`);
  await mkdir(bin, { recursive: true });
  await rename(join(modelsDir, name, version), join(bin, version));
  await rm(bin, { recursive: true });
}
