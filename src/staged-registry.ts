// Stages of something that is no model over restarts: `rollout.json`, a history and the name of what serves, in a folder
// of its own. Replicas that share the folder agree, as on rankers. Called by rules-registry.ts and index-registry.ts.
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomically } from './ranking/lifecycle/atomic-write.ts';
import {
  changeModelState,
  type HistoryEntry,
  type ModelState,
  modelState,
  readRolloutState,
  type Trial,
} from './ranking/lifecycle/stage-file.ts';

/** Refused versions that are remembered, newest first. */
const REFUSED_KEPT = 100;

export interface StagedState extends ModelState {
  /** null before anything was served. */
  serving: string | null;
}

export interface StagedRegistryOptions {
  dir: string;
  kind: Exclude<HistoryEntry['kind'], 'model'>;
  /** File that names what serves. */
  servingFile: string;
  /** Told under the lock which versions are still needed: in force, before it, on trial. */
  onNeeded(versions: string[]): Promise<void>;
}

interface Move {
  after: StagedState;
  entry: Omit<HistoryEntry, 'at' | 'kind' | 'name'>;
}

/** Every move resolves with null where another replica was first. */
export class StagedRegistry {
  readonly #options: StagedRegistryOptions;

  constructor(options: StagedRegistryOptions) {
    this.#options = options;
  }

  /** null before anything was served. @throws what the file system throws. */
  async serving(): Promise<string | null> {
    const { dir, servingFile } = this.#options;
    return textOrNull(join(dir, servingFile)).then((text) => text?.trim() || null);
  }

  /** @throws FeedrankError(corrupt_artifact) on a state file that is none. */
  async read(): Promise<StagedState> {
    const state = modelState(await readRolloutState(this.#options.dir), this.#options.kind);
    return { ...state, serving: await this.serving() };
  }

  /**
   * Another stage of the trial that is `expected`; null: a new trial takes the place of any other. `keep` runs first,
   * under the lock.
   */
  startTrial(
    { version, stage, share }: Omit<Trial, 'sinceMs'>,
    expected: Trial | null,
    keep?: () => Promise<void>,
  ): Promise<HistoryEntry | null> {
    return this.#change(async (before) => {
      if (expected !== null && !isSame(before.trial, expected)) return null;
      await keep?.();
      const trial: Trial = { version, stage, share, sinceMs: Date.now() };
      const from = before.serving === null ? {} : { from: before.serving };
      const size = stage === 'canary' ? { share } : {};
      return { after: { ...before, trial }, entry: { version, action: stage, by: 'auto', ...size, ...from } };
    });
  }

  promote(
    version: string,
    by: string,
    reason: string | undefined,
    expected: Trial | null = null,
    keep?: () => Promise<void>,
  ): Promise<HistoryEntry | null> {
    return this.#change(async (before) => {
      if (expected !== null && !isSame(before.trial, expected)) return null;
      if (before.serving === version && before.trial === null) return null;
      await keep?.();
      const { [version]: _, ...refused } = before.refused;
      const { serving } = before;
      const previous = serving === version ? before.previous : serving;
      return {
        after: { serving: version, trial: null, previous, promotedAtMs: Date.now(), refused },
        entry: {
          version,
          action: 'promoted',
          by,
          ...(serving === null ? {} : { from: serving }),
          ...(reason === undefined ? {} : { reason }),
        },
      };
    });
  }

  /** Ends a trial that nobody wants any more; the version is not refused. */
  withdraw(version: string, reason: string): Promise<HistoryEntry | null> {
    return this.#change(async (before) =>
      before.trial?.version === version
        ? { after: { ...before, trial: null }, entry: { version, action: 'withdrawn', reason, by: 'auto' } }
        : null,
    );
  }

  /** Ends the trial of `version`, or takes it from everybody where it serves; it is refused from then on. */
  rollBack(version: string, by: string, reason: string, sinceMs?: number): Promise<HistoryEntry | null> {
    return this.#change(async (before) => {
      const { trial, serving, previous } = before;
      const refused = newest({ ...before.refused, [version]: { reason, atMs: Date.now() } });
      const entry = { version, action: 'rolled_back' as const, reason, by };
      if (trial?.version === version && (sinceMs === undefined || sinceMs === trial.sinceMs))
        return { after: { ...before, trial: null, refused }, entry };
      if (serving !== version || previous === null || sinceMs !== undefined) return null;
      const after = { ...before, serving: previous, previous: null, promotedAtMs: null, refused };
      return { after, entry: { ...entry, from: version } };
    });
  }

  async #change(change: (before: StagedState) => Promise<Move | null>): Promise<HistoryEntry | null> {
    const { dir, kind, servingFile, onNeeded } = this.#options;
    await mkdir(dir, { recursive: true });
    return changeModelState(
      dir,
      kind,
      async (state) => {
        const before = { ...state, serving: await this.serving() };
        const changed = await change(before);
        if (changed === null) return null;
        const { serving, ...after } = changed.after;
        if (serving !== before.serving) await writeAtomically(join(dir, servingFile), `${serving ?? ''}\n`);
        const needed = [serving, after.previous, after.trial?.version];
        await onNeeded(needed.filter((version) => version !== null && version !== undefined));
        return { after, entry: changed.entry };
      },
      kind,
    );
  }
}

export async function textOrNull(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

function isSame(trial: Trial | null, expected: Trial): boolean {
  return trial?.version === expected.version && trial.sinceMs === expected.sinceMs;
}

function newest(refused: ModelState['refused']): ModelState['refused'] {
  const byAge = Object.entries(refused).sort(([, a], [, b]) => b.atMs - a.atMs);
  return Object.fromEntries(byAge.slice(0, REFUSED_KEPT));
}
