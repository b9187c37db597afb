// Joins the writes of requests that arrive while a commit is running into the next commit: one round trip and one
// flush of the log for all of them (group commit, DeWitt et al. 1984). Nobody waits when nothing is being committed.
import { type Deadline, deadlineIn, raceDeadline } from '../deadline.ts';
import { FeedrankError } from '../errors.ts';

/** Commits under way: one is written while the next is parsed by the database. */
const IN_FLIGHT = 2;
/** Items of one commit: above it the others' wait grows and the rate does not. */
const MAX_ITEMS = 2_000;

interface Waiting<T> {
  items: readonly T[];
  deadline: Deadline;
  resolve: (flags: boolean[]) => void;
  reject: (error: unknown) => void;
}

export class GroupCommit<T> {
  readonly #commit: (items: readonly T[], deadline: Deadline) => Promise<boolean[]>;
  readonly #what: string;
  #waiting: Waiting<T>[] = [];
  #inFlight = 0;
  #scheduled = false;

  /** `commit` stores all items or none and gives one flag an item. */
  constructor(what: string, commit: (items: readonly T[], deadline: Deadline) => Promise<boolean[]>) {
    this.#what = what;
    this.#commit = commit;
  }

  /** Resolves when the items are committed. After a `timeout` they may be: sending them again is safe. */
  add(items: readonly T[], deadline: Deadline): Promise<boolean[]> {
    if (items.length === 0) return Promise.resolve([]);
    const done = new Promise<boolean[]>((resolve, reject) => {
      this.#waiting.push({ items, deadline, resolve, reject });
    });
    this.#schedule();
    return raceDeadline(done, deadline, this.#what);
  }

  #schedule(): void {
    if (this.#scheduled || this.#inFlight >= IN_FLIGHT || this.#waiting.length === 0) return;
    this.#scheduled = true;
    // Requests of the same turn of the loop join.
    setImmediate(() => {
      this.#scheduled = false;
      if (this.#waiting.length === 0) return;
      const group = this.#take();
      this.#inFlight++;
      this.#write(group).finally(() => {
        this.#inFlight--;
        this.#schedule();
      });
      this.#schedule();
    });
  }

  #take(): Waiting<T>[] {
    let items = 0;
    let count = 0;
    while (
      count < this.#waiting.length &&
      (count === 0 || items + this.#waiting[count].items.length <= MAX_ITEMS)
    ) {
      items += this.#waiting[count++].items.length;
    }
    return this.#waiting.splice(0, count);
  }

  async #write(group: readonly Waiting<T>[]): Promise<void> {
    const items = group.length === 1 ? group[0].items : group.flatMap((one) => one.items);
    const remainingMs = Math.max(...group.map((one) => one.deadline.remainingMs()));
    try {
      const flags = await this.#commit(
        items,
        group.length === 1 ? group[0].deadline : deadlineIn(remainingMs),
      );
      let at = 0;
      for (const one of group) {
        one.resolve(flags.slice(at, at + one.items.length));
        at += one.items.length;
      }
    } catch (error) {
      // What one request brought must not fail the others.
      const theirs = error instanceof FeedrankError && error.code === 'invalid_input';
      if (!theirs || group.length === 1) {
        for (const one of group) one.reject(error);
        return;
      }
      for (const one of group) await this.#write([one]);
    }
  }
}
