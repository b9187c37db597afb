// Versions of the rules over restarts, in DATA_DIR/rules: texts, `current`, stages and history. Called by
// rules-rollout.ts.
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomically } from './ranking/lifecycle/atomic-write.ts';
import type { HistoryEntry, Trial } from './ranking/lifecycle/stage-file.ts';
import { parseRulesText, type RulesText } from './rerank/rules-file.ts';
import { StagedRegistry, type StagedState, textOrNull } from './staged-registry.ts';

export const RULES = 'rules';

/** Every move resolves with null where another replica was first. */
export class RulesRegistry {
  readonly #dir: string;
  readonly #staged: StagedRegistry;

  constructor(dataDir: string) {
    this.#dir = rulesFolder(dataDir);
    this.#staged = new StagedRegistry({
      dir: this.#dir,
      kind: RULES,
      servingFile: 'current',
      onNeeded: (versions) => this.#drop(versions),
    });
  }

  /** null before any rules were served. @throws what the file system throws. */
  serving(): Promise<string | null> {
    return this.#staged.serving();
  }

  /** @throws FeedrankError(corrupt_artifact) on a state file that is none. */
  read(): Promise<StagedState> {
    return this.#staged.read();
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
    return this.#staged.startTrial({ version, stage: 'canary', share }, expected, () => this.#keep(rules));
  }

  promote(
    rules: RulesText,
    by: string,
    reason: string | undefined,
    expected: Trial | null = null,
  ): Promise<HistoryEntry | null> {
    return this.#staged.promote(rules.version, by, reason, expected, () => this.#keep(rules));
  }

  /** Ends a trial that nobody wants any more; the version is not refused. */
  withdraw(version: string, reason: string): Promise<HistoryEntry | null> {
    return this.#staged.withdraw(version, reason);
  }

  /** Ends the trial of `version`, or takes it from everybody where it serves; it is refused from then on. */
  rollBack(version: string, by: string, reason: string, sinceMs?: number): Promise<HistoryEntry | null> {
    return this.#staged.rollBack(version, by, reason, sinceMs);
  }

  async #keep({ version, text }: RulesText): Promise<void> {
    await writeAtomically(join(this.#dir, `${version}.json`), text);
  }

  async #drop(needed: readonly string[]): Promise<void> {
    for (const file of await readdir(this.#dir)) {
      const version = /^([0-9a-f]{12})\.json$/.exec(file)?.[1];
      if (version !== undefined && !needed.includes(version))
        await rm(join(this.#dir, file), { force: true });
    }
  }
}

/** Where the stages of the rules and their history are. */
export function rulesFolder(dataDir: string): string {
  return join(dataDir, RULES);
}
