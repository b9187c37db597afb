// What compose wires to answer from memory: user states and slates of a moment ago, with their metric. What posts say
// is cached by the API itself (src/api/post-cache.ts).
import type { Registry } from 'prom-client';
import { type CacheOutcome, cacheRequests } from '../cache-outcome.ts';
import type { Config } from '../config.ts';
import type { Change } from '../contracts.ts';
import type { OnlineStore } from '../features/store/state-store.ts';
import { UserStateCache } from '../features/store/user-state-cache.ts';
import { SlateCache } from '../slate-cache.ts';

export interface Caches {
  state: UserStateCache;
  slates: SlateCache;
  /** Drops what a change makes untrue; told before the change is applied. */
  onChange(change: Change): void;
}

export function openCaches(
  config: Pick<Config, 'STATE_CACHE_MS' | 'SLATE_CACHE_MS'>,
  store: OnlineStore,
  registry: Registry,
): Caches {
  const requests = cacheRequests(registry);
  const count = (cache: string) => (outcome: CacheOutcome) => requests.inc({ cache, outcome });
  const state = new UserStateCache({ store, ttlMs: config.STATE_CACHE_MS, onRequest: count('user_state') });
  const slates = new SlateCache({ ttlMs: config.SLATE_CACHE_MS, onRequest: count('slates') });
  return {
    state,
    slates,
    onChange(change) {
      state.onChange(change);
      slates.onChange(change);
    },
  };
}
