// What the model life cycle says of itself: for /admin/models, health and metrics. Pure.
import type { Experiments } from './ranking/lifecycle/rollout-config.ts';
import type { ModelState, Trial } from './ranking/lifecycle/stage-file.ts';
import type { TrialEvidence, TrialFigures } from './ranking/lifecycle/trial-evidence.ts';
import { LIGHT_RANKER, MAIN_RANKER } from './ranking/model-registry.ts';
import type { StagedModel } from './rollout-metrics.ts';
import type { ServingModels } from './serving-models.ts';

export type RolloutMode = 'auto' | 'manual';

export interface RolloutStatus {
  mode: RolloutMode;
  /** Versions that serve, null where none can. */
  serving: { ranker: string | null; light: string | null };
  /** The way back. */
  previous: string | null;
  /** What this replica saw of it since its stage began, and what comes when every gate passes. */
  trial: (Trial & TrialFigures & { next: string }) | null;
  /** The same of the light ranker. */
  lightTrial: RolloutStatus['trial'];
  /** Versions of the ranker that neither serve nor are on trial, and why one was refused. */
  versions: { version: string; refused: string | null }[];
  experiments: {
    name: string;
    arms: { name: string; share: number; ranker: string | null; open: boolean }[];
  } | null;
  problems: string[];
}

export interface StatusParts {
  mode: RolloutMode;
  models: Pick<ServingModels, 'serving' | 'light' | 'isOpen'>;
  trial: TrialEvidence | null;
  lightTrial: TrialEvidence | null;
  state: ModelState;
  versions: readonly string[];
  bad: ReadonlyMap<string, { reason: string }>;
  experiments: Experiments | null;
  problems: string[];
}

export function rolloutStatus(parts: StatusParts): RolloutStatus {
  const { mode, models, trial, lightTrial, state, versions, bad, experiments, problems } = parts;
  return {
    mode,
    serving: { ranker: models.serving, light: models.light },
    previous: state.previous,
    trial: trial && statusOf(trial),
    lightTrial: lightTrial && statusOf(lightTrial),
    versions: versions
      .filter((version) => version !== models.serving && version !== trial?.trial.version)
      .map((version) => ({
        version,
        refused:
          bad.get(version)?.reason ??
          (Object.hasOwn(state.refused, version) ? state.refused[version].reason : null),
      })),
    experiments: experiments && {
      name: experiments.name,
      arms: experiments.arms.map(({ name, share, ranker = null }) => ({
        name,
        share,
        ranker,
        open: ranker === null || models.isOpen(ranker),
      })),
    },
    problems,
  };
}

function statusOf(trial: TrialEvidence): RolloutStatus['trial'] {
  const next = trial.next();
  return {
    ...trial.trial,
    ...trial.figures(),
    next: next === 'promote' ? next : `${next.stage} ${next.share}`,
  };
}

/** Every model that is open, for feedrank_model_stage. */
export function stagedModels(
  models: Pick<ServingModels, 'serving' | 'light' | 'lightTrial' | 'others'>,
  trial: Trial | null,
  lightTrial: Trial | null,
): StagedModel[] {
  const staged: StagedModel[] = models.others.map((version) => ({
    name: MAIN_RANKER,
    version,
    stage: version === trial?.version ? trial.stage : 'standby',
  }));
  if (models.serving !== null) staged.push({ name: MAIN_RANKER, version: models.serving, stage: 'promoted' });
  if (models.light !== null) staged.push({ name: LIGHT_RANKER, version: models.light, stage: 'promoted' });
  if (models.lightTrial !== null && lightTrial !== null)
    staged.push({ name: LIGHT_RANKER, version: models.lightTrial, stage: lightTrial.stage });
  return staged;
}
