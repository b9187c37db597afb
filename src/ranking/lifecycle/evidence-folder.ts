// What every replica saw of the trial that is on, in `<dir>/evidence`, beside the state that it decides: each process
// writes a file of its own and judges by the sum of all. A restart begins a new file; the one before still counts.
// A file that cannot be used is as good as none. Called by the rollouts.
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../errors.ts';
import { writeAtomically } from './atomic-write.ts';
import { type KeptTrial, keptTrial, type TrialEvidence } from './trial-evidence.ts';

type RegistryLog = (level: 'info' | 'warn', details: object, message: string) => void;

/** Some 5 ms of the event loop at worst; what a crash may lose, and how late others know of it. */
const KEEP_EVERY_MS = 30_000;
/** Files of one trial that are added up, newest first: replicas, and starts of them. */
const MOST_FILES = 64;
const ABANDONED_MS = 86_400_000;

interface Known {
  stamp: string;
  /** null: it cannot be used. */
  kept: KeptTrial | null;
}

export class EvidenceFolder {
  readonly #dir: string;
  readonly #file: RegExp;
  readonly #own: string;
  readonly #log: RegistryLog;
  readonly #known = new Map<string, Known>();
  /** On performance.now()'s clock. */
  #keptAtMs = performance.now();

  /** `name`: whose trials they are, lower-case letters and dashes. */
  constructor(dir: string, name: string, log: RegistryLog) {
    this.#dir = join(dir, 'evidence');
    this.#file = new RegExp(`^${name}\\.[0-9a-f]{12}\\.json$`);
    this.#own = `${name}.${randomBytes(6).toString('hex')}.json`;
    this.#log = log;
  }

  /** The evidence, with what others and earlier starts kept of its stage. */
  async joined(evidence: TrialEvidence): Promise<TrialEvidence> {
    await this.#join(evidence).catch((error) => this.#fail(error));
    return evidence;
  }

  /** Null: no trial is on, and nothing of an earlier one is kept. `now` = at once. Never rejects. */
  async keep(evidence: TrialEvidence | null, { now = false } = {}): Promise<void> {
    if (!now && performance.now() - this.#keptAtMs < KEEP_EVERY_MS) return;
    this.#keptAtMs = performance.now();
    const path = join(this.#dir, this.#own);
    try {
      if (evidence === null) return await rm(path, { force: true });
      await mkdir(this.#dir, { recursive: true });
      await writeAtomically(path, JSON.stringify(evidence));
      await this.#join(evidence);
    } catch (error) {
      this.#fail(error);
    }
  }

  async #join(evidence: TrialEvidence): Promise<void> {
    const found: { atMs: number; kept: KeptTrial }[] = [];
    const names = (await readdir(this.#dir).catch(() => [])).filter((name) => this.#file.test(name));
    for (const name of names) {
      if (name === this.#own) continue;
      const path = join(this.#dir, name);
      const now = await stat(path).catch(() => null);
      if (now === null) continue;
      const stamp = `${now.mtimeMs}:${now.size}:${now.ino}`;
      let known = this.#known.get(name);
      if (known?.stamp !== stamp) {
        known = { stamp, kept: await this.#read(path) };
        this.#known.set(name, known);
      }
      if (known.kept !== null && evidence.isOf(known.kept))
        found.push({ atMs: now.mtimeMs, kept: known.kept });
      else if (Date.now() - now.mtimeMs > ABANDONED_MS) await rm(path, { force: true });
    }
    for (const name of this.#known.keys()) if (!names.includes(name)) this.#known.delete(name);
    found.sort((a, b) => b.atMs - a.atMs);
    evidence.join(found.slice(0, MOST_FILES).map(({ kept }) => kept));
  }

  async #read(path: string): Promise<KeptTrial | null> {
    try {
      return keptTrial.parse(JSON.parse(await readFile(path, 'utf8')));
    } catch (error) {
      this.#fail(error);
      return null;
    }
  }

  #fail(error: unknown): void {
    this.#log('warn', { reason: messageOf(error) }, 'the evidence of a trial is not kept or not shared');
  }
}
