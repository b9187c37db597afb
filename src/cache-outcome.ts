// What a cache did with a request, in the words of the metric `feedrank_cache_requests_total` and of `X-Cache`.
import { Counter, type Registry } from 'prom-client';

/**
 * `hit`: from memory. `negative`: known to be missing. `joined`: waited for the same read or slate of another request.
 * `miss`: read or made now. `bypass`: this request may not be answered from memory.
 */
export type CacheOutcome = 'hit' | 'negative' | 'joined' | 'miss' | 'bypass';

/** The metric of all caches, one a registry. */
export function cacheRequests(registry: Registry): Counter<'cache' | 'outcome'> {
  const known = registry.getSingleMetric('feedrank_cache_requests_total') as
    | Counter<'cache' | 'outcome'>
    | undefined;
  return (
    known ??
    new Counter({
      name: 'feedrank_cache_requests_total',
      help: 'Requests to a cache of this replica (posts, user_state, slates), by what became of them.',
      labelNames: ['cache', 'outcome'],
      registers: [registry],
    })
  );
}
