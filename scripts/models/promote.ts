// The two commands that change the models folder. Both are atomic for a service that reads it at the same time:
// `current` appears by rename, a version leaves by rename before its files go.
import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { FeedrankError } from '../../src/errors.ts';
import type { ModelManifest } from '../../src/features/model-artifact.ts';
import { promote } from '../../src/ranking/lifecycle/stage-changes.ts';
import { modelState, readRolloutState } from '../../src/ranking/lifecycle/stage-file.ts';
import { promotedVersion, versionsOf } from '../../src/ranking/model-registry.ts';
import { type ModelRef, readManifest, verifyModel } from './model-folder.ts';

const comparisonSchema = z.object({ against: z.string().nullable(), worse: z.boolean() });

export interface Promotion extends ModelRef {
  /** What was served before; null when that could not be read. */
  from: string | null;
  /** What a person should know, though the version can serve. */
  warnings: string[];
}

/**
 * Verifies, then makes the version the one that serves. `current` stays as it was when it throws.
 * @throws what verifying throws; FeedrankError(conflict) when the trainer found the version worse than the one that
 * serves, on the same held-out events, and `force` is not set.
 */
export async function promoteModel(modelsDir: string, ref: ModelRef, force = false): Promise<Promotion> {
  const manifest = await verifyModel(modelsDir, ref);
  const from = await promotedVersion(modelsDir, ref.name).catch(() => null);
  const warnings: string[] = [];
  if (from !== null && from !== ref.version) {
    const serving = { name: ref.name, version: from };
    const verdict = comparedWith(manifest, serving);
    if (verdict === 'worse' && !force) {
      throw new FeedrankError(
        'conflict',
        `${ref.name}@${ref.version} did worse than ${ref.name}@${from} on the same held-out events; --force promotes it`,
      );
    }
    const back = await readManifest(modelsDir, serving).then(
      (found) => comparedWith(found, ref),
      () => 'unknown',
    );
    if (verdict === 'worse') warnings.push(`did worse than ${ref.name}@${from} and was forced`);
    else if (back === 'fine') warnings.push(`is what ${ref.name}@${from} was promoted over`);
    else if (verdict === 'unknown') warnings.push(`was not compared with ${ref.name}@${from}`);
  }
  if (manifest.tower !== undefined) {
    const [tower] = manifest.tower.split('@');
    const serving = await promotedVersion(modelsDir, tower).catch(() => null);
    if (manifest.tower !== `${tower}@${serving}`) {
      warnings.push(
        `was trained on ${manifest.tower}, promoted is ${serving === null ? 'none' : `${tower}@${serving}`}`,
      );
    }
  }
  await promote({ modelsDir, name: ref.name, by: 'operator' }, ref.version);
  return { ...ref, from, warnings };
}

/** What the trainer wrote of a version beside the one that served then. */
function comparedWith(manifest: ModelManifest, other: ModelRef): 'fine' | 'worse' | 'unknown' {
  const found = comparisonSchema.safeParse(manifest.comparison);
  if (!found.success || !found.data.against?.split(' and ').includes(`${other.name}@${other.version}`)) {
    return 'unknown';
  }
  return found.data.worse ? 'worse' : 'fine';
}

export interface Collection {
  name: string;
  promoted: string;
  kept: string[];
  removed: string[];
}

/**
 * Removes all but the `keep` newest versions, the promoted one, the way back and the one on trial; with `dryRun` only
 * says which.
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
  const { trial, previous } = modelState(await readRolloutState(modelsDir), name);
  const needed = [promoted, previous, trial?.version, ...newest];
  const removed = versions.filter((version) => !needed.includes(version));
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
