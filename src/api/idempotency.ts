// Idempotency-Key: the same key with the same body gives the first answer again; with another body it is a conflict.
// Two at once on one replica share one run; across replicas the items' own ids keep a second run from doing anything.
import { createHash } from 'node:crypto';
import type { SessionStore } from '../contracts.ts';
import type { Deadline } from '../deadline.ts';
import { FeedrankError } from '../errors.ts';

export interface StoredAnswer<T> {
  status: number;
  body: T;
}

interface Entry {
  digest: string;
  answer: StoredAnswer<unknown>;
}

export class Idempotency {
  readonly #store: SessionStore;
  readonly #ttlMs: number;
  readonly #running = new Map<string, { digest: string; answer: Promise<StoredAnswer<unknown>> }>();

  constructor(store: SessionStore, ttlMs: number) {
    this.#store = store;
    this.#ttlMs = ttlMs;
  }

  /**
   * `protectedByKey` is false when the store could not be asked or did not keep the answer. Answers of status 400
   * and more are not kept.
   * @throws FeedrankError `conflict` when the key was used with another body; whatever `work` throws.
   */
  async run<T>(
    scope: string,
    key: string,
    request: unknown,
    deadline: Deadline,
    work: () => Promise<StoredAnswer<T>>,
  ): Promise<{ answer: StoredAnswer<T>; replayed: boolean; protectedByKey: boolean }> {
    const digest = sha256(JSON.stringify(request));
    const storeKey = `idempotency:${scope}:${sha256(key)}`;
    const running = this.#running.get(storeKey);
    if (running) {
      if (running.digest !== digest) throw conflict();
      return { answer: (await running.answer) as StoredAnswer<T>, replayed: true, protectedByKey: true };
    }
    let protectedByKey = true;
    const fresh = async (): Promise<{ answer: StoredAnswer<T>; replayed: boolean }> => {
      const known = await this.#read(storeKey, deadline).catch(() => {
        protectedByKey = false;
        return null;
      });
      if (known) {
        if (known.digest !== digest) throw conflict();
        return { answer: known.answer as StoredAnswer<T>, replayed: true };
      }
      const answer = await work();
      if (answer.status < 400) {
        const bytes = Buffer.from(JSON.stringify({ digest, answer } satisfies Entry));
        await this.#store.set(storeKey, bytes, this.#ttlMs, deadline).catch(() => {
          protectedByKey = false;
        });
      }
      return { answer, replayed: false };
    };
    const run = fresh();
    const answer = run.then((outcome) => outcome.answer);
    // The one who runs it sees the error; a second one sees it through its own await.
    answer.catch(() => {});
    this.#running.set(storeKey, { digest, answer });
    try {
      return { ...(await run), protectedByKey };
    } finally {
      this.#running.delete(storeKey);
    }
  }

  async #read(key: string, deadline: Deadline): Promise<Entry | null> {
    const bytes = await this.#store.get(key, deadline);
    return bytes && (JSON.parse(Buffer.from(bytes).toString()) as Entry);
  }
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}

export function conflict(): FeedrankError {
  const reason = 'was used before with another body';
  return new FeedrankError('conflict', `idempotency-key: ${reason}`, {
    fields: [{ field: 'idempotency-key', reason }],
  });
}
