// How urgent a feed request says it is: by its parameter, by our header, or by the header of a browser that prefetches.
import type { IncomingHttpHeaders } from 'node:http';
import { PRIORITIES, type Priority } from '../admission.ts';

/**
 * The parameter, which need not have been checked yet, goes before the header. What names no priority is passed over,
 * since proxies may add what they like.
 */
export function requestPriority(parameter: unknown, headers: IncomingHttpHeaders): Priority {
  const named = (name: unknown) => PRIORITIES.find((priority) => priority === name);
  const given = named(parameter) ?? named(headers['x-feedrank-priority']);
  if (given !== undefined) return given;
  // Fetch standard, 2.9: `Sec-Purpose: prefetch`, possibly with parameters.
  return String(headers['sec-purpose'] ?? '').startsWith('prefetch') ? 'prefetch' : 'interactive';
}
