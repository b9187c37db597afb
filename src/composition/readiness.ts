// What /health/ready says: whether feeds can be made at all, what is missing, and which versions serve. Called by
// compose.ts.
import type { Readiness } from '../api/app-context.ts';
import type { Generations } from '../generations.ts';
import type { WorkerPool } from '../pool.ts';

export interface ReadinessParts {
  generations: Generations;
  pool: Pick<WorkerPool, 'available'>;
  /** Trouble that the parts name themselves; null for none. */
  problems: readonly (() => readonly (string | null)[])[];
  /** Milliseconds after which changes are late. */
  changesLateMs: number;
  /** `name@version …` of every model that serves, without the towers. */
  rankers: () => readonly string[];
  towers: Record<string, string>;
  /** Adapter by port. */
  stores: Record<string, string>;
  /** False where there is no change stream to follow. */
  hasStream: boolean;
}

/** Ready means: a feed worker answers. Everything else degrades. */
export function readinessOf(parts: ReadinessParts): Readiness {
  const { generations, pool, changesLateMs } = parts;
  const { id, table, search, searchReason, writer, follower } = generations.current;
  const degraded = parts.problems.flatMap((problems) => problems().filter((problem) => problem !== null));
  if (searchReason) degraded.push(searchReason);
  if (generations.refusal) degraded.push(generations.refusal);
  if (follower.ageMs > changesLateMs)
    degraded.push(`changes are ${Math.round(follower.ageMs / 1000)} s late`);
  if (writer.turnedAway > 0)
    degraded.push(`the live tier is full: ${writer.turnedAway} posts wait for an index build`);
  const reasons = pool.available === 0 ? ['no feed worker is available'] : [];
  const changes = follower.source === 'stream' ? 'stream' : 'polled, no updater leads';
  return {
    ready: reasons.length === 0,
    reasons,
    degraded,
    index: { kind: search, generation: id, posts: table.rows - table.deletedRows.all },
    models: Object.fromEntries([
      ...parts.rankers().map((model) => [model.split('@')[0], model]),
      ...Object.entries(parts.towers),
    ]),
    stores: { ...parts.stores, ...(parts.hasStream ? { changes } : {}) },
  };
}
