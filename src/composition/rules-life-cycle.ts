// What compose wires for the life of the rules: the file, who gets which version, and what moves them.
import { existsSync } from 'node:fs';
import type { FastifyBaseLogger } from 'fastify';
import type { Registry } from 'prom-client';
import type { CatalogueView } from '../api/app-context.ts';
import { type Config, rolloutMode } from '../config.ts';
import type { WorkerPool } from '../pool.ts';
import { rulesRolloutOf } from '../ranking/lifecycle/rollout-config.ts';
import type { OtherRefusal } from '../registry-view.ts';
import { RulesFile } from '../rerank/rules-file.ts';
import { RulesChoices } from '../rules-choice.ts';
import { RulesRollout } from '../rules-rollout.ts';
import { createRulesMetrics } from '../stage-metrics.ts';
import { authorKeyBy, readRolloutConfig } from './model-life-cycle.ts';

export interface RulesLifeCycle {
  choices: RulesChoices;
  rollout: RulesRollout;
  /** The file as it is, where it cannot be used. */
  refusals(): OtherRefusal[];
}

export interface RulesLifeCycleParts {
  pool: Pick<WorkerPool, 'broadcast'>;
  registry: Registry;
  logger: FastifyBaseLogger;
  find: CatalogueView['find'];
}

/** @throws FeedrankError or Error naming the file or the setting that cannot be used. */
export function composeRules(config: Config, parts: RulesLifeCycleParts): RulesLifeCycle {
  const { pool, registry, logger, find } = parts;
  const file = existsSync(config.RULES_FILE)
    ? new RulesFile(config.RULES_FILE, () => void rollout.check())
    : null;
  if (file === null) logger.warn({ file: config.RULES_FILE }, 'no rules file: default rules');
  const choices = new RulesChoices({ authorOf: authorKeyBy(find), onFailure: () => void rollout.check() });
  const rollout: RulesRollout = new RulesRollout({
    dataDir: config.DATA_DIR,
    file,
    mode: rolloutMode(config),
    config: rulesRolloutOf(readRolloutConfig(config.ROLLOUT_FILE)),
    choices,
    metrics: createRulesMetrics(registry),
    pollMs: config.MODELS_POLL_MS,
    send: (update) => pool.broadcast('rules', update, 'rules'),
    log: (level, details, message) => logger[level](details, message),
  });
  const refusals = (): OtherRefusal[] =>
    file?.error ? [{ kind: 'rules', name: 'rules', version: 'file', reason: file.error }] : [];
  return { choices, rollout, refusals };
}
