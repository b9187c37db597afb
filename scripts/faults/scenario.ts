// What a scenario is, and its result as it is kept in the report's JSON. Scenarios are listed in scenarios.ts.
import type { Machine } from '../bench/machine.ts';
import type { Criterion } from './criterion.ts';

export interface ScenarioContext {
  /** A small world, few seconds and a low fixed rate: what CI runs. */
  quick: boolean;
  soakMinutes: number;
  /** Where unpacked servers and prepared worlds are kept. */
  cacheDir: string;
  note(text: string): void;
}

export interface Scenario {
  id: number;
  title: string;
  /** Rejects with Impossible where the machine cannot do it, with any other error where the scenario itself broke. */
  run(context: ScenarioContext): Promise<Criterion[]>;
}

/** This machine lacks what the scenario needs: it is skipped, with the reason. */
export class Impossible extends Error {}

export interface ScenarioResult {
  id: number;
  title: string;
  criteria: Criterion[];
  /** Set where it could not run at all. */
  skipped?: string;
  startedAt: string;
  seconds: number;
  quick: boolean;
  machine: Machine;
  /** Others' share of all cores meanwhile; null where it cannot be read. */
  foreignShare: number | null;
}

export function passed(result: ScenarioResult): boolean {
  return result.skipped === undefined && result.criteria.every((criterion) => criterion.pass);
}
