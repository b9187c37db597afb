// What compose wires for the life of index versions: who is answered by which, and what moves them.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FastifyBaseLogger } from 'fastify';
import type { Registry } from 'prom-client';
import type { CatalogueView } from '../api/app-context.ts';
import { type Config, rolloutMode } from '../config.ts';
import { IndexChoices } from '../index-choice.ts';
import { IndexRollout } from '../index-rollout.ts';
import type { WorkerPool } from '../pool.ts';
import { indexRolloutOf } from '../ranking/lifecycle/rollout-config.ts';
import { createIndexMetrics } from '../stage-metrics.ts';
import { authorKeyBy, readRolloutConfig } from './model-life-cycle.ts';

export interface IndexLifeCycle {
  choices: IndexChoices;
  /** null where a published index serves as soon as it is open. */
  rollout: IndexRollout | null;
}

export interface IndexLifeCycleParts {
  pool: Pick<WorkerPool, 'background'>;
  registry: Registry;
  logger: FastifyBaseLogger;
  find: CatalogueView['find'];
}

/** Full figures of this many canaries' worth of slates are enough to compare with after a swap. */
const WATCHED_CANARIES = 2;

/** @throws FeedrankError or Error naming the setting when ROLLOUT_FILE cannot be used. */
export function composeIndexLifeCycle(config: Config, parts: IndexLifeCycleParts): IndexLifeCycle {
  const { pool, registry, logger, find } = parts;
  const indexDir = join(config.DATA_DIR, 'index');
  const rollout = indexRolloutOf(readRolloutConfig(config.ROLLOUT_FILE));
  const choices = new IndexChoices({
    pool,
    authorOf: authorKeyBy(find),
    watchedSlates: WATCHED_CANARIES * rollout.schedule.canarySlates,
  });
  if (rolloutMode(config) === 'manual') return { choices, rollout: null };
  return {
    choices,
    rollout: new IndexRollout({
      indexDir,
      config: rollout,
      choices,
      metrics: createIndexMetrics(registry),
      tooLarge: (version) => tooLarge(join(indexDir, version), config.INDEX_CANARY_MAX_MB),
      log: (level, details, message) => logger[level](details, message),
    }),
  };
}

/** What the files of a version say; one that cannot be read is left to whoever opens it. */
async function tooLarge(folder: string, maxMb: number): Promise<string | null> {
  try {
    const { files } = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8'));
    const mb =
      Object.values(files as Record<string, { bytes: number }>).reduce((sum, { bytes }) => sum + bytes, 0) /
      1e6;
    return mb <= maxMb
      ? null
      : `not tried beside what serves: ${Math.round(mb)} MB, INDEX_CANARY_MAX_MB is ${maxMb}`;
  } catch {
    return null;
  }
}
