// Which generation serves: loads the published one (or starts empty) and swaps to a newer one without losing a request.
// With a policy a newer one is first tried beside it, by a share of the users. A generation in use is never closed.
import { currentVersion, listVersions } from './candidates/index/artifact.ts';
import type { PostTable } from './candidates/index/post-table.ts';
import type { CatalogueWriter } from './catalogue-writer.ts';
import { FeedrankError, messageOf } from './errors.ts';
import { type Generation, GenerationOpener, type GenerationOpenerOptions } from './generation-opener.ts';

export type { Generation } from './generation-opener.ts';

/** What decides about published versions instead of a swap at once: index-rollout.ts. */
export interface IndexPolicy {
  /** The version to start with, null where it has none to say. */
  startWith(): Promise<string | null>;
  /** Looks at what is published and at what serves, and moves it on. */
  step(generations: Generations, published: string | null): Promise<void>;
  /** Whether the trial that is open answers this user. */
  isCanary(userId: string): boolean;
  close(): Promise<void>;
}

export interface GenerationsOptions extends GenerationOpenerOptions {
  /** Absent or null: a published version serves as soon as it is open. */
  policy?: IndexPolicy | null;
  indexPollMs: number;
  log: (level: 'info' | 'warn', details: Record<string, unknown>, message: string) => void;
}

export class Generations {
  readonly #options: GenerationsOptions;
  readonly #opener: GenerationOpener;
  #current: Generation | undefined;
  #trial: Generation | undefined;
  /** Being filled; writes go to it too. */
  #next: Generation | undefined;
  #refused: { version: string; reason: string } | null = null;
  #timer: NodeJS.Timeout | undefined;
  #checking: Promise<void> | undefined;
  /** What is open missed changes that are not kept any more: it is loaded anew. */
  #expired = false;
  #closed = false;

  constructor(options: GenerationsOptions) {
    this.#options = options;
    this.#opener = new GenerationOpener(options, () => {
      this.#expired = true;
    });
  }

  get current(): Generation {
    if (!this.#current) throw new FeedrankError('unavailable', 'no generation is loaded yet');
    return this.#current;
  }

  /** Id of the version that is tried beside the one that serves. */
  get trial(): string | null {
    return this.#trial?.id ?? null;
  }

  /** Where post vectors are looked up: what serves, or at the start what is being loaded. */
  get lookup(): PostTable {
    return (this.#current ?? this.#next ?? this.current).table;
  }

  /** The published version that does not serve, null when it does. */
  get refused(): { version: string; reason: string } | null {
    return this.#refused;
  }

  /** The same in words. */
  get refusal(): string | null {
    return this.#refused && `index ${this.#refused.version}: ${this.#refused.reason}`;
  }

  /** Writers of every generation that must see a change at once. */
  get writers(): CatalogueWriter[] {
    return [this.#current, this.#trial, this.#next].flatMap((one) => (one ? [one.writer] : []));
  }

  /** Loads what is published, or starts empty; an artifact that is refused starts empty too, loudly. */
  async open(): Promise<void> {
    const { indexDir, policy, log } = this.#options;
    let published: string | null = null;
    try {
      published = (await policy?.startWith()) ?? (await currentVersion(indexDir));
    } catch (error) {
      this.#refuse(null, error);
    }
    const older = published === null ? [] : (await listVersions(indexDir)).filter((one) => one < published);
    for (const version of published === null ? [] : [published, ...older.reverse()]) {
      try {
        await this.#swapTo(version);
        break;
      } catch (error) {
        // The way back is the version before; what is named as refused is the one that should serve.
        if (version === published) this.#refuse(version, error);
        else log('warn', { version, reason: messageOf(error) }, 'an older index is refused too');
      }
    }
    if (!this.#current) await this.#swapTo(null);
    this.#schedule();
  }

  /** Runs `work` on the generation that is the user's, which stays open until it is done. */
  async use<T>(work: (generation: Generation) => Promise<T>, userId?: string): Promise<T> {
    const isCanary = this.#trial && userId !== undefined && this.#options.policy?.isCanary(userId);
    const generation = (isCanary && this.#trial) || this.current;
    generation.inUse++;
    try {
      return await work(generation);
    } finally {
      generation.inUse--;
    }
  }

  /** Makes a version the one that serves; says whether it does. What cannot be opened is refused, what serves stays. */
  async serve(version: string): Promise<boolean> {
    try {
      if (this.#trial?.id === version) await this.#promoteTrial(this.#trial);
      else await this.#swapTo(version);
      this.#refused = null;
      return true;
    } catch (error) {
      this.#refuse(version, error);
      return false;
    }
  }

  /** Opens a version beside the one that serves; says whether it is open. What cannot be opened is refused. */
  async tryOut(version: string): Promise<boolean> {
    await this.dropTrial();
    try {
      this.#trial = await this.#open(version);
      this.#trial.follower.start();
      this.#refused = null;
    } catch (error) {
      this.#refuse(version, error);
    }
    this.#next = undefined;
    return this.#trial !== undefined;
  }

  async dropTrial(): Promise<void> {
    const trial = this.#trial;
    this.#trial = undefined;
    if (trial) await this.#opener.drain(trial);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#checking;
    await this.#options.policy?.close();
    await Promise.all([this.#current?.follower.stop(), this.#trial?.follower.stop()]);
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#checking = this.#check().finally(() => this.#schedule());
    }, this.#options.indexPollMs);
    this.#timer.unref();
  }

  async #check(): Promise<void> {
    const { indexDir, policy, log } = this.#options;
    let version: string | null = null;
    try {
      version = await currentVersion(indexDir);
      if (this.#expired) return await this.#loadAnew(version);
      if (policy) {
        await policy
          .step(this, version)
          .catch((error) => log('warn', { reason: messageOf(error) }, 'the indexes could not be checked'));
        return;
      }
      if (version === null || version === this.current.id || version === this.#refused?.version) return;
      await this.serve(version);
    } catch (error) {
      this.#refuse(version, error);
    }
  }

  /** From the published index, or where that is too old as well, from the store; what serves goes on meanwhile. */
  async #loadAnew(published: string | null): Promise<void> {
    const version = (await this.#options.policy?.startWith()) ?? published;
    this.#options.log('warn', { version }, 'changes were missed: the generation is loaded anew');
    await this.dropTrial();
    try {
      await this.#swapTo(version);
    } catch (error) {
      if (version === null) throw error;
      this.#refuse(version, error);
      await this.#swapTo(null);
    }
    this.#expired = false;
  }

  /** What serves goes on serving; the same bad version is not tried again and again. */
  #refuse(version: string | null, error: unknown): void {
    this.#refused = { version: version ?? 'current', reason: messageOf(error) };
    this.#next = undefined;
    this.#options.log('warn', this.#refused, 'a published index was refused');
  }

  #open(version: string | null): Promise<Generation> {
    return this.#opener.open(version, this.#current, (made) => {
      this.#next = made;
    });
  }

  async #swapTo(version: string | null): Promise<void> {
    const startedAt = performance.now();
    const generation = await this.#open(version);
    const old = this.#current;
    this.#current = generation;
    this.#next = undefined;
    generation.follower.start();
    this.#announce(generation, performance.now() - startedAt);
    if (old) await this.#opener.drain(old);
  }

  /** It is open everywhere and follows the changes already. */
  async #promoteTrial(trial: Generation): Promise<void> {
    const old = this.#current;
    this.#current = trial;
    this.#trial = undefined;
    this.#announce(trial, 0);
    if (old) await this.#opener.drain(old);
  }

  #announce({ id, search, table, searchReason }: Generation, ms: number): void {
    const { log } = this.#options;
    log('info', { id, search, rows: table.rows, ms: Math.round(ms) }, 'generation serves');
    if (searchReason !== null) log('warn', { reason: searchReason }, 'the published graph is not used');
  }
}
