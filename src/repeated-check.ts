// A step that looks at something again and again: by the clock, when asked, and once more where a step itself or a
// caller meanwhile wanted it. One runs at a time, and none ever rejects. Called by the rollouts of models and rules.
import { messageOf } from './errors.ts';

export interface RepeatedCheckOptions {
  step: () => Promise<void>;
  pollMs: number;
  /** A reason that is not the one before. */
  onProblem: (reason: string) => void;
}

export class RepeatedCheck {
  readonly #options: RepeatedCheckOptions;
  #problem: string | null = null;
  #timer: NodeJS.Timeout | undefined;
  #checking: Promise<void> | undefined;
  #again = false;
  #closed = false;

  constructor(options: RepeatedCheckOptions) {
    this.#options = options;
  }

  /** Why the newest step failed; null when it did not. */
  get problem(): string | null {
    return this.#problem;
  }

  /** Begins to look by the clock. */
  start(): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => void this.check().finally(() => this.start()), this.#options.pollMs);
    this.#timer.unref();
  }

  /** Looks now, and where a step is under way, once more after it. */
  check(): Promise<void> {
    if (this.#checking) this.#again = true;
    this.#checking ??= this.#run().finally(() => {
      this.#checking = undefined;
    });
    return this.#checking;
  }

  /** Asked for by a step: another one follows it. */
  again(): void {
    this.#again = true;
  }

  fail(error: unknown): void {
    const reason = messageOf(error);
    if (reason !== this.#problem) this.#options.onProblem(reason);
    this.#problem = reason;
  }

  /** Resolves when the step under way has ended; no other follows. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#checking;
  }

  async #run(): Promise<void> {
    do {
      this.#again = false;
      try {
        await this.#options.step();
        this.#problem = null;
      } catch (error) {
        this.fail(error);
      }
    } while (this.#again && !this.#closed);
  }
}
