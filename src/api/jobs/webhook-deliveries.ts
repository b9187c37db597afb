// Delivers the webhooks of ended jobs: a try, then others after growing, random waits, until one is taken or the day is
// over. The schedule is in SQL, so that any replica goes on with it after a restart. Driven by feed-jobs.ts.
import type { Delivery, DeliveryOutcome, FeedJobStore } from '../../contracts.ts';
import { deadlineIn } from '../../deadline.ts';
import { messageOf } from '../../errors.ts';
import type { WebhookSender } from './webhook-sender.ts';

const AT_ONCE = 4;
/** Far longer than a try takes. */
const LEASE_MS = 60_000;
/** Exponential backoff with full jitter (Brooker, AWS 2015): five seconds to three hours, twelve or more tries a day. */
const BACKOFF_MS = { first: 5000, most: 3 * 3_600_000 };
const STORE_MS = 10_000;
const ERROR_CHARACTERS = 200;
/** Standard Webhooks: a receiver that is gone for good. */
const GONE = 410;

export interface WebhookDeliveriesParts {
  store: Pick<FeedJobStore, 'claimDeliveries' | 'settleDelivery'>;
  sender: Pick<WebhookSender, 'send'>;
  clock: { now(): number };
  urlOf(jobId: string): string;
  random?: () => number;
  onTry?: (outcome: 'delivered' | 'failed' | 'dead') => void;
}

export class WebhookDeliveries {
  readonly #parts: WebhookDeliveriesParts;
  readonly #closing = new AbortController();

  constructor(parts: WebhookDeliveriesParts) {
    this.#parts = parts;
  }

  /** True while there may be more to do at once. @throws the store's error: the tries are made again later. */
  async step(): Promise<boolean> {
    const { store, clock } = this.#parts;
    if (this.#closing.signal.aborted) return false;
    const due = await store.claimDeliveries(AT_ONCE, clock.now(), LEASE_MS, deadlineIn(STORE_MS));
    await Promise.all(
      due.map(async (delivery) => {
        const outcome = await this.#try(delivery);
        await store.settleDelivery(delivery, outcome, deadlineIn(STORE_MS));
      }),
    );
    return due.length === AT_ONCE;
  }

  /** Breaks off the tries under way: they count, and are made again. */
  close(): void {
    this.#closing.abort();
  }

  async #try(delivery: Delivery): Promise<DeliveryOutcome> {
    const { sender, urlOf, onTry } = this.#parts;
    const { jobId, status, users, failed } = delivery;
    const message = { jobId, status, users, failed, resultsUrl: `${urlOf(jobId)}/results` };
    let error: string;
    try {
      const answer = await sender.send(delivery.url, jobId, message, this.#closing.signal);
      if (answer >= 200 && answer < 300) {
        onTry?.('delivered');
        return { state: 'delivered' };
      }
      error = `answered ${answer}`;
      if (answer === GONE) return this.#dead(error);
    } catch (thrown) {
      error = messageOf(thrown).slice(0, ERROR_CHARACTERS);
    }
    return this.#later(delivery, error);
  }

  #later({ attempts, untilMs }: Delivery, error: string): DeliveryOutcome {
    const { clock, random = Math.random, onTry } = this.#parts;
    const now = clock.now();
    if (now >= untilMs) return this.#dead(error);
    const { first, most } = BACKOFF_MS;
    const waitMs = random() * Math.min(most, first * 2 ** (attempts - 1));
    onTry?.('failed');
    return { state: 'pending', error, nextAt: Math.min(untilMs, now + waitMs) };
  }

  #dead(error: string): DeliveryOutcome {
    this.#parts.onTry?.('dead');
    return { state: 'dead', error };
  }
}
