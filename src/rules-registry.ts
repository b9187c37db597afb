// Versions of the rules over restarts, in DATA_DIR/rules: texts, `current`, stages and history. Replicas that share the
// folder agree, as on rankers. Called by rules-rollout.ts.
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
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
import { parseRulesText, type RulesText } from './rerank/rules-file.ts';

export const RULES = 'rules';
/** Refused versions that are remembered, newest first. */
const REFUSED_KEPT = 100;

export interface RulesState extends ModelState {
  /** null before any rules were served. */
  serving: string | null;
}

interface Change {
  after: RulesState;
  entry: Omit<HistoryEntry, 'at' | 'kind' | 'name'>;
}

/** Every move resolves with null where another replica was first. */
export class RulesRegistry {
  readonly #dir: string;

  constructor(dataDir: string) {
    this.#dir = rulesFolder(dataDir);
  }

  /** null before any rules were served. @throws what the file system throws. */
  async serving(): Promise<string | null> {
    return textOrNull(join(this.#dir, 'current')).then((text) => text?.trim() || null);
  }

  /** @throws FeedrankError(corrupt_artifact) on a state file that is none. */
  async read(): Promise<RulesState> {
    const state = modelState(await readRolloutState(this.#dir), RULES);
    return { ...state, serving: await this.serving() };
  }

  /** null where the text is not kept, or is not what its name says. @throws FeedrankError(invalid_input) on bad rules. */
  async rules(version: string): Promise<RulesText | null> {
    const path = join(this.#dir, `${version}.json`);
    const text = await textOrNull(path);
    if (text === null) return null;
    const rules = parseRulesText(path, text);
    return rules.version === version ? rules : null;
  }

  /** A larger share of the trial that is `expected`; without it a new trial takes the place of any other. */
  startTrial(rules: RulesText, share: number, expected: Trial | null): Promise<HistoryEntry | null> {
    const { version } = rules;
    return this.#change(async (before) => {
      if (expected !== null && !isSame(before.trial, expected)) return null;
      await this.#keep(rules);
      const trial: Trial = { version, stage: 'canary', share, sinceMs: Date.now() };
      const from = before.serving === null ? {} : { from: before.serving };
      return {
        after: { ...before, trial },
        entry: { version, action: 'canary', share, by: 'auto', ...from },
      };
    });
  }

  promote(
    rules: RulesText,
    by: string,
    reason: string | undefined,
    expected: Trial | null = null,
  ): Promise<HistoryEntry | null> {
    const { version } = rules;
    return this.#change(async (before) => {
      if (expected !== null && !isSame(before.trial, expected)) return null;
      if (before.serving === version && before.trial === null) return null;
      await this.#keep(rules);
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

  async #change(change: (before: RulesState) => Promise<Change | null>): Promise<HistoryEntry | null> {
    await mkdir(this.#dir, { recursive: true });
    return changeModelState(
      this.#dir,
      RULES,
      async (state) => {
        const before = { ...state, serving: await this.serving() };
        const changed = await change(before);
        if (changed === null) return null;
        const { serving, ...after } = changed.after;
        if (serving !== before.serving)
          await writeAtomically(join(this.#dir, 'current'), `${serving ?? ''}\n`);
        await this.#drop([serving, after.previous, after.trial?.version]);
        return { after, entry: changed.entry };
      },
      RULES,
    );
  }

  async #keep({ version, text }: RulesText): Promise<void> {
    await writeAtomically(join(this.#dir, `${version}.json`), text);
  }

  async #drop(kept: (string | null | undefined)[]): Promise<void> {
    for (const file of await readdir(this.#dir)) {
      const version = /^([0-9a-f]{12})\.json$/.exec(file)?.[1];
      if (version !== undefined && !kept.includes(version)) await rm(join(this.#dir, file), { force: true });
    }
  }
}

/** Where the stages of the rules and their history are. */
export function rulesFolder(dataDir: string): string {
  return join(dataDir, RULES);
}

function isSame(trial: Trial | null, expected: Trial): boolean {
  return trial?.version === expected.version && trial.sinceMs === expected.sinceMs;
}

function newest(refused: ModelState['refused']): ModelState['refused'] {
  const byAge = Object.entries(refused).sort(([, a], [, b]) => b.atMs - a.atMs);
  return Object.fromEntries(byAge.slice(0, REFUSED_KEPT));
}

async function textOrNull(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
