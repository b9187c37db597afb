// Takes events in: validates each, checks its tracking token and its post, commits, then puts them in force here.
import type { Change, EngagementEvent, EventStore } from '../contracts.ts';
import type { Deadline } from '../deadline.ts';
import type { FieldProblem } from '../errors.ts';
import { eventSchema, fieldProblems } from '../features/domain-schema.ts';
import type { CatalogueView } from './app-context.ts';
import type { ApplyAfterCommit } from './apply-after-commit.ts';
import { type BatchOutcome, rejected } from './batch-result.ts';
import { GroupCommit } from './group-commit.ts';
import type { PostCache } from './post-cache.ts';
import type { ItemResult } from './response-schemas.ts';
import type { TrackingTokens } from './tracking-token.ts';

/** How far ahead of ours a client's clock may be. */
export const CLOCK_SKEW_MS = 5 * 60_000;

export interface EventIngestionParts {
  store: Pick<EventStore, 'appendEvents'>;
  posts: Pick<PostCache, 'getPosts'>;
  /** Asked first: what it serves is known without a read. */
  catalogue: Pick<CatalogueView, 'find'>;
  tokens: TrackingTokens;
  clock: { now(): number };
  apply: ApplyAfterCommit;
}

export class EventIngestion {
  readonly #parts: EventIngestionParts;
  readonly #commits: GroupCommit<EngagementEvent>;

  constructor(parts: EventIngestionParts) {
    this.#parts = parts;
    this.#commits = new GroupCommit('storing events', (events, deadline) =>
      parts.store.appendEvents(events, deadline),
    );
  }

  /** One result an item, in order. Rejects when the store did not commit: then nothing was stored. */
  async ingest(items: readonly unknown[], deadline: Deadline): Promise<BatchOutcome> {
    const { apply } = this.#parts;
    const results: ItemResult[] = new Array(items.length);
    const firstOf = new Map<string, string>();
    let valid: { index: number; event: EngagementEvent }[] = [];
    items.forEach((item, index) => {
      const event = this.#read(item, index, firstOf);
      if ('status' in event) results[index] = event;
      else valid.push({ index, event });
    });
    const known = await this.#knownPosts(valid, deadline);
    valid = valid.filter(({ index, event }) => {
      if (known.has(event.postId)) return true;
      const reason = 'there is no such post';
      results[index] = rejected(index, event, { field: `events[${index}].postId`, reason });
      return false;
    });
    const events = valid.map(({ event }) => event);
    const isNew = await this.#commits.add(events, deadline);
    const changes: Change[] = [];
    valid.forEach(({ index, event }, i) => {
      results[index] = { index, id: event.id, status: isNew[i] ? 'stored' : 'duplicate' };
      if (isNew[i]) changes.push({ kind: 'event', event });
    });
    return { results, degraded: await apply.soon(changes) };
  }

  async #knownPosts(valid: readonly { event: EngagementEvent }[], deadline: Deadline): Promise<Set<string>> {
    const { catalogue, posts } = this.#parts;
    const known = new Set<string>();
    const asked = new Set<string>();
    for (const { event } of valid) {
      if (catalogue.find(event.postId) === null) asked.add(event.postId);
      else known.add(event.postId);
    }
    if (asked.size === 0) return known;
    const ids = [...asked];
    const found = await posts.getPosts(ids, deadline);
    ids.forEach((id, i) => {
      if (found[i] !== null) known.add(id);
    });
    return known;
  }

  #read(item: unknown, index: number, firstOf: Map<string, string>): EngagementEvent | ItemResult {
    const path = `events[${index}]`;
    const refuse = (problem: FieldProblem) =>
      rejected(index, item, { field: `${path}.${problem.field}`, reason: problem.reason });
    const parsed = eventSchema.safeParse(item);
    if (!parsed.success) return rejected(index, item, fieldProblems(parsed.error, path)[0]);
    let event = parsed.data;
    if (event.at > this.#parts.clock.now() + CLOCK_SKEW_MS) {
      return refuse({ field: 'at', reason: 'lies in the future' });
    }
    if (event.token !== undefined) {
      const serving = this.#parts.tokens.read(event.token, event.userId, event.postId);
      if (serving === null)
        return refuse({ field: 'token', reason: 'was not issued for this user and post' });
      if (event.position !== undefined && event.position !== serving.position) {
        return refuse({ field: 'position', reason: 'is not the position that the token was issued for' });
      }
      event = { ...event, position: serving.position };
    }
    const key = `${event.userId}\0${event.id}`;
    const content = JSON.stringify(event);
    const first = firstOf.get(key);
    if (first === content) return { index, id: event.id, status: 'duplicate' };
    if (first !== undefined) {
      return refuse({ field: 'id', reason: 'stands in this batch before, with other content' });
    }
    firstOf.set(key, content);
    return event;
  }
}
