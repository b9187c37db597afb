// The moves of a model's life: on trial in shadow, canary, promoted, rolled back, refused. Each is one change under the
// registry's lock; by the service itself, by /admin/models and by `npm run models`, all the same way.
import { join } from 'node:path';
import { FeedrankError, invalid } from '../../errors.ts';
import { promotedVersion, readCurrent, versionsOf } from '../model-registry.ts';
import { writeAtomically } from './atomic-write.ts';
import { changeModelState, type HistoryEntry, type ModelState } from './stage-file.ts';

export interface StageMove {
  modelsDir: string;
  name: string;
  by: string;
}

/** What a move by the service itself expects to find; another replica may have been first. */
export interface ExpectedTrial {
  version: string;
  stage: 'shadow' | 'canary';
  share: number;
}

/**
 * Puts a version on trial, or a version on trial into its next stage. `share` is of the users, 0 in shadow.
 * With `expected` null resolves unless that trial is still on (`none`: no trial and not refused before).
 * @throws FeedrankError(not_found | invalid_input | conflict) naming what is wrong.
 */
export async function startTrial(
  { modelsDir, name, by }: StageMove,
  version: string,
  stage: 'shadow' | 'canary',
  share: number,
  expected?: ExpectedTrial | 'none',
): Promise<HistoryEntry | null> {
  if (stage === 'canary' && !(share > 0 && share <= 0.5)) {
    throw invalid('share', 'must be above 0 and at most .5: the control group needs as many users');
  }
  return changeModelState(modelsDir, name, async (before) => {
    if (expected !== undefined && !isExpected(before, version, expected)) return null;
    await requireVersionOf(modelsDir, name, version);
    const serving = await servingBeside(modelsDir, name, version);
    const entry = { version, action: stage, from: serving, by, ...(stage === 'canary' ? { share } : {}) };
    const trial = { version, stage, share: stage === 'canary' ? share : 0, sinceMs: Date.now() };
    return { after: { ...before, trial, refused: without(before.refused, version) }, entry };
  });
}

/** Makes a version the one that serves. @throws FeedrankError(not_found). */
export async function promote(
  { modelsDir, name, by }: StageMove,
  version: string,
  options: { expected?: ExpectedTrial; reason?: string } = {},
): Promise<HistoryEntry | null> {
  return changeModelState(modelsDir, name, async (before) => {
    if (options.expected && !isExpected(before, version, options.expected)) return null;
    await requireVersionOf(modelsDir, name, version);
    const from = await promotedOf(modelsDir, name, before, version);
    await writeAtomically(join(modelsDir, name, 'current'), `${version}\n`);
    const after: ModelState = {
      trial: null,
      previous: from === version ? before.previous : from,
      promotedAtMs: Date.now(),
      refused: without(before.refused, version),
    };
    return {
      after,
      entry: {
        version,
        action: 'promoted',
        by,
        ...(from === null ? {} : { from }),
        ...(options.reason === undefined ? {} : { reason: options.reason }),
      },
    };
  });
}

/**
 * Ends the trial, or without one goes back to what was promoted before; the version is refused from then on, until
 * somebody stages it again. null when `version` is given and neither on trial nor promoted any more, or on another
 * trial than the one that began at `sinceMs`.
 * @throws FeedrankError(conflict) when there is no way back.
 */
export async function rollBack(
  { modelsDir, name, by }: StageMove,
  reason: string,
  version?: string,
  sinceMs?: number,
): Promise<HistoryEntry | null> {
  return changeModelState(modelsDir, name, async (before) => {
    const { trial, previous } = before;
    const refuse = (bad: string) => ({ ...before.refused, [bad]: { reason, atMs: Date.now() } });
    if (trial && (version === undefined || version === trial.version)) {
      if (sinceMs !== undefined && sinceMs !== trial.sinceMs) return null;
      const entry = { version: trial.version, action: 'rolled_back' as const, reason, by };
      return { after: { ...before, trial: null, refused: refuse(trial.version) }, entry };
    }
    const serving = await promotedVersion(modelsDir, name);
    if (version !== undefined && version !== serving) return null;
    if (previous === null || !(await versionsOf(modelsDir, name)).includes(previous)) {
      throw new FeedrankError('conflict', `${name}@${serving} serves and no version before it is known`);
    }
    await writeAtomically(join(modelsDir, name, 'current'), `${previous}\n`);
    const after: ModelState = {
      ...before,
      previous: null,
      promotedAtMs: null,
      refused: refuse(serving),
    };
    return { after, entry: { version: serving, action: 'rolled_back', from: serving, reason, by } };
  });
}

/**
 * Notes that a version failed its checks. A trial of it ends; where it was promoted, `serving` is promoted again.
 * null when that was noted before.
 */
export async function refuse(
  { modelsDir, name, by }: StageMove,
  version: string,
  reason: string,
  serving: string | null,
): Promise<HistoryEntry | null> {
  return changeModelState(modelsDir, name, async (before) => {
    const current = await readCurrent(modelsDir, name);
    const promotedIt = current === version && serving !== null && serving !== version;
    const onTrial = before.trial?.version === version;
    if (Object.hasOwn(before.refused, version) && !promotedIt && !onTrial) return null;
    if (promotedIt) await writeAtomically(join(modelsDir, name, 'current'), `${serving}\n`);
    const after: ModelState = {
      ...before,
      trial: onTrial ? null : before.trial,
      previous: promotedIt ? null : before.previous,
      promotedAtMs: promotedIt ? null : before.promotedAtMs,
      refused: { ...before.refused, [version]: { reason, atMs: Date.now() } },
    };
    return { after, entry: { version, action: 'refused', reason, by } };
  });
}

function isExpected(state: ModelState, version: string, expected: ExpectedTrial | 'none'): boolean {
  if (expected === 'none') return state.trial === null && !Object.hasOwn(state.refused, version);
  const { trial } = state;
  return (
    trial?.version === expected.version && trial.stage === expected.stage && trial.share === expected.share
  );
}

/** What serves while `version` is on trial; pinned in `current`, so that the newcomer is not taken for it. */
async function servingBeside(modelsDir: string, name: string, version: string): Promise<string> {
  const current = await readCurrent(modelsDir, name);
  const serving = current ?? (await versionsOf(modelsDir, name)).filter((one) => one !== version).at(-1);
  if (serving === undefined) {
    throw new FeedrankError(
      'conflict',
      `${name}@${version} is the only version: there is nothing to compare with`,
    );
  }
  if (serving === version) throw new FeedrankError('conflict', `${name}@${version} serves already`);
  if (current === null) await writeAtomically(join(modelsDir, name, 'current'), `${serving}\n`);
  return serving;
}

async function promotedOf(
  modelsDir: string,
  name: string,
  state: ModelState,
  version: string,
): Promise<string | null> {
  const current = await readCurrent(modelsDir, name);
  if (current !== null) return current;
  const others = (await versionsOf(modelsDir, name)).filter((one) => !Object.hasOwn(state.refused, one));
  // Without `current` the newcomer is usually the highest itself: what served is the one below it.
  return others.filter((one) => one !== version).at(-1) ?? null;
}

async function requireVersionOf(modelsDir: string, name: string, version: string): Promise<void> {
  const versions = await versionsOf(modelsDir, name);
  if (versions.includes(version)) return;
  throw new FeedrankError(
    'not_found',
    `no version ${version} of ${name}, there is ${versions.join(', ') || 'none'}`,
  );
}

function without<T>(record: Record<string, T>, key: string): Record<string, T> {
  const { [key]: _, ...rest } = record;
  return rest;
}
