// Metrics of the rules' life, on the process's registry.
import { Counter, Gauge, type Registry } from 'prom-client';
import type { GateResult } from './ranking/lifecycle/gates.ts';

export interface RulesMetrics {
  rollbacks: Counter<'reason'>;
  /** Names where stages and gates are read when metrics are asked for. */
  watch(
    read: () => { stages: { version: string; stage: string }[]; trial: string; gates: readonly GateResult[] },
  ): void;
}

export function createRulesMetrics(registry: Registry): RulesMetrics {
  const registers = [registry];
  return {
    rollbacks: new Counter({
      name: 'feedrank_rules_rollbacks_total',
      help: 'Rules that this replica rolled back by itself, by the gate that failed.',
      labelNames: ['reason'],
      registers,
    }),
    watch(read) {
      const stage: Gauge<'version' | 'stage'> = new Gauge({
        name: 'feedrank_rules_stage',
        help: 'Always 1; the labels name each version of the rules in use and its stage.',
        labelNames: ['version', 'stage'],
        registers,
        collect() {
          stage.reset();
          for (const one of read().stages) stage.set(one, 1);
        },
      });
      const gate: Gauge<'version' | 'gate'> = new Gauge({
        name: 'feedrank_rules_gate',
        help: 'The figure of each gate of the rules on trial, for example author_concentration.',
        labelNames: ['version', 'gate'],
        registers,
        collect() {
          gate.reset();
          const { trial, gates } = read();
          for (const one of gates) gate.set({ version: trial, gate: one.gate }, one.value);
        },
      });
    },
  };
}
