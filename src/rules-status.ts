// What the life of the rules says of itself, for /admin/rules and health: above all what a trial waits for. Pure.
import type { RolloutConfig } from './ranking/lifecycle/rollout-config.ts';
import type { Trial } from './ranking/lifecycle/stage-file.ts';
import type { TrialEvidence, TrialFigures } from './ranking/lifecycle/trial-evidence.ts';
import type { RolloutMode } from './rollout-status.ts';
import type { StagedState } from './staged-registry.ts';

/** A trial older than this is named by the ready check: a site without enough readers needs its operator. */
const LONG_WAIT_MS = 86_400_000;

export interface RulesStatus {
  mode: RolloutMode;
  /** Versions: what serves here, what the file holds, the way back. */
  serving: string;
  file: string | null;
  previous: string | null;
  /** What this replica saw of it since its stage began, what it waits for, and what comes when every gate passes. */
  trial: (Trial & Omit<TrialFigures, 'shadow'> & { waits: string | null; next: string }) | null;
  refused: { version: string; reason: string; at: string }[];
  problems: string[];
}

export interface RulesStatusParts {
  mode: RolloutMode;
  serving: string;
  file: string | null;
  state: Pick<StagedState, 'previous' | 'refused'>;
  trial: TrialEvidence | null;
  config: RolloutConfig;
  problems: string[];
}

export function rulesStatus({
  mode,
  serving,
  file,
  state,
  trial,
  config,
  problems,
}: RulesStatusParts): RulesStatus {
  return {
    mode,
    serving,
    file,
    previous: state.previous,
    trial: trial && trialStatus(trial, config),
    refused: Object.entries(state.refused).map(([version, { reason, atMs }]) => ({
      version,
      reason,
      at: new Date(atMs).toISOString(),
    })),
    problems,
  };
}

function trialStatus(trial: TrialEvidence, config: RolloutConfig): RulesStatus['trial'] {
  const { verdict, canary, control } = trial.figures();
  const next = trial.next();
  return {
    ...trial.trial,
    verdict,
    canary,
    control,
    waits: waitsFor(trial, config),
    next: next === 'promote' ? next : `${next.stage} ${next.share}`,
  };
}

/** In words; null = it is decided at the next look. */
export function waitsFor(trial: TrialEvidence, { schedule }: RolloutConfig): string | null {
  const { verdict, canary, control } = trial.figures();
  const [ofCanary, ofControl] = [canary?.slates ?? 0, control?.slates ?? 0];
  if (verdict.outcome === 'roll_back') return null;
  if (Math.min(ofCanary, ofControl) < schedule.canarySlates)
    return `feeds: ${ofCanary} of the canary and ${ofControl} of the control, ${schedule.canarySlates} of each are needed`;
  if (verdict.outcome === 'wait') {
    const waiting = verdict.gates.filter(({ status }) => status === 'waiting').map(({ gate }) => gate);
    return `samples for ${waiting.join(', ')}`;
  }
  const endsAtMs = trial.trial.sinceMs + schedule.minStageMs;
  return Date.now() < endsAtMs ? `time: the stage lasts until ${new Date(endsAtMs).toISOString()}` : null;
}

/** A trial that goes on for a day; null where none does. */
export function longWait(trial: TrialEvidence | null, config: RolloutConfig, nowMs: number): string | null {
  if (trial === null || nowMs - trial.trial.sinceMs < LONG_WAIT_MS) return null;
  const waits = waitsFor(trial, config);
  return (
    waits &&
    `rules ${trial.trial.version} are still on trial and wait for ${waits}; POST /admin/rules decides`
  );
}
