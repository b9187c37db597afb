// What compose wires for the life of the rankers: the versions that are open, who gets which, and what moves them.
import { readFileSync } from 'node:fs';
import type { FastifyBaseLogger } from 'fastify';
import type { Registry } from 'prom-client';
import type { CatalogueView } from '../api/app-context.ts';
import { type Config, rolloutMode } from '../config.ts';
import { messageOf } from '../errors.ts';
import { ExperimentsFile } from '../experiments-file.ts';
import { ModelChoices } from '../model-choice.ts';
import { ModelRollout, type ModelRolloutOptions } from '../model-rollout.ts';
import type { WorkerPool } from '../pool.ts';
import { parseRolloutConfig } from '../ranking/lifecycle/rollout-config.ts';
import type { ValueWeights } from '../ranking/value-model.ts';
import { createRolloutMetrics } from '../rollout-metrics.ts';
import { ServingModels } from '../serving-models.ts';
import { VersionChecks } from '../version-checks.ts';
import type { Device } from './device.ts';

/** Share of a feed's deadline that ranking all candidates may take on an idle machine. */
const RANKING_SHARE = 0.5;

export interface ModelLifeCycle {
  models: ServingModels;
  choices: ModelChoices;
  rollout: ModelRollout;
}

export interface ModelLifeCycleParts {
  pool: WorkerPool;
  device: Pick<Device, 'before'>;
  weights: ValueWeights;
  registry: Registry;
  logger: FastifyBaseLogger;
  find: CatalogueView['find'];
  refusals: ModelRolloutOptions['refusals'];
}

/** @throws FeedrankError or Error naming the setting when ROLLOUT_FILE cannot be used. */
export function composeModelLifeCycle(config: Config, parts: ModelLifeCycleParts): ModelLifeCycle {
  const { pool, device, weights, registry, logger, find, refusals } = parts;
  const models = new ServingModels(device.before(pool));
  const experiments = new ExperimentsFile(config.EXPERIMENTS_FILE);
  const metrics = createRolloutMetrics(registry);
  const choices = new ModelChoices({
    models,
    experiments,
    weights,
    pool,
    metrics,
    authorOf: authorKeyBy(find),
    onFailure: () => void rollout.check(),
  });
  const rollout = new ModelRollout({
    modelsDir: config.MODELS_DIR,
    dataDir: config.DATA_DIR,
    mode: rolloutMode(config),
    config: readRolloutConfig(config.ROLLOUT_FILE),
    models,
    choices,
    checks: new VersionChecks(config.MODELS_DIR, {
      rows: config.CANDIDATES,
      // A check runs on the CPU: of a model for a device its time says nothing.
      ...(config.EXECUTION_PROVIDER === 'cpu' ? { budgetMs: config.FEED_DEADLINE_MS * RANKING_SHARE } : {}),
    }),
    experiments,
    metrics,
    pollMs: config.MODELS_POLL_MS,
    refusals,
    log: (level, details, message) => logger[level](details, message),
  });
  return { models, choices, rollout };
}

/** A key of the author of a servable post, null when it is gone. */
export function authorKeyBy(find: CatalogueView['find']): (postId: string) => string | null {
  return (postId) => {
    const found = find(postId);
    return found && `${found.authorLo}:${found.authorHi}`;
  };
}

/** @throws Error naming the setting; FeedrankError naming the bad key. */
export function readRolloutConfig(path: string | undefined) {
  if (path === undefined) return parseRolloutConfig({});
  let input: unknown;
  try {
    input = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new Error(`ROLLOUT_FILE: ${messageOf(error)}`);
  }
  return parseRolloutConfig(input);
}
