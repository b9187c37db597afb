// What this replica saw of the trial that is on, kept over a restart: a canary must not begin anew with each deploy.
// Written beside the requests; a file that cannot be used is as good as none. Called by model-rollout.ts and
// rules-rollout.ts.
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../errors.ts';
import { writeAtomically } from './atomic-write.ts';
import { keptTrial, type TrialEvidence } from './trial-evidence.ts';

type RegistryLog = (level: 'info' | 'warn', details: object, message: string) => void;

/** Some 5 ms of the event loop at worst, and what a crash may lose. */
const KEEP_EVERY_MS = 30_000;

export class EvidenceFile {
  readonly #dir: string;
  readonly #name: string;
  readonly #log: RegistryLog;
  /** On performance.now()'s clock. */
  #keptAtMs = performance.now();

  constructor(dir: string, log: RegistryLog, name = 'trial-evidence.json') {
    this.#dir = dir;
    this.#name = name;
    this.#log = log;
  }

  /** The evidence, with what was kept of its trial. */
  async restored(evidence: TrialEvidence): Promise<TrialEvidence> {
    const text = await readFile(join(this.#dir, this.#name), 'utf8').catch(() => null);
    try {
      if (text !== null) evidence.restore(keptTrial.parse(JSON.parse(text)));
    } catch (error) {
      this.#fail(error);
    }
    return evidence;
  }

  /** Null: no trial is on, and nothing of an earlier one is kept. `now` = at once. Never rejects. */
  async keep(evidence: TrialEvidence | null, { now = false } = {}): Promise<void> {
    if (!now && performance.now() - this.#keptAtMs < KEEP_EVERY_MS) return;
    this.#keptAtMs = performance.now();
    const path = join(this.#dir, this.#name);
    try {
      if (evidence === null) return await rm(path, { force: true });
      await mkdir(this.#dir, { recursive: true });
      await writeAtomically(path, JSON.stringify(evidence));
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.#log('warn', { reason: messageOf(error) }, 'the evidence of a trial is not kept over a restart');
  }
}
