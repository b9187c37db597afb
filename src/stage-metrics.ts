// Metrics of the lives of rules and of index versions, on the process's registry.
import { Counter, Gauge, type Registry } from 'prom-client';
import type { GateResult } from './ranking/lifecycle/gates.ts';

export interface Staged {
  stages: { version: string; stage: string }[];
  /** Version on trial, empty without one. */
  trial: string;
  gates: readonly GateResult[];
}

export interface StageMetrics {
  rollbacks: Counter<'reason'>;
  /** Names where stages and gates are read when metrics are asked for. */
  watch(read: () => Staged): void;
}

export function createRulesMetrics(registry: Registry): StageMetrics {
  const registers = [registry];
  return {
    rollbacks: new Counter({
      name: 'feedrank_rules_rollbacks_total',
      help: 'Rules that this replica rolled back by itself, by the gate that failed.',
      labelNames: ['reason'],
      registers,
    }),
    watch(read) {
      new Gauge({
        name: 'feedrank_rules_stage',
        help: 'Always 1; the labels name each version of the rules in use and its stage.',
        labelNames: ['version', 'stage'],
        registers,
        collect: stagesOf(read),
      });
      new Gauge({
        name: 'feedrank_rules_gate',
        help: 'The figure of each gate of the rules on trial, for example author_concentration.',
        labelNames: ['version', 'gate'],
        registers,
        collect: gatesOf(read),
      });
    },
  };
}

export function createIndexMetrics(registry: Registry): StageMetrics {
  const registers = [registry];
  return {
    rollbacks: new Counter({
      name: 'feedrank_index_rollbacks_total',
      help: 'Index versions that this replica rolled back by itself, by the gate that failed.',
      labelNames: ['reason'],
      registers,
    }),
    watch(read) {
      new Gauge({
        name: 'feedrank_index_stage',
        help: 'Always 1; the labels name each open index version and its stage.',
        labelNames: ['version', 'stage'],
        registers,
        collect: stagesOf(read),
      });
      new Gauge({
        name: 'feedrank_index_gate',
        help: 'The figure of each gate of the index on trial, for example overlap.',
        labelNames: ['version', 'gate'],
        registers,
        collect: gatesOf(read),
      });
    },
  };
}

function stagesOf(read: () => Staged) {
  return function (this: Gauge<'version' | 'stage'>): void {
    this.reset();
    for (const one of read().stages) this.set(one, 1);
  };
}

function gatesOf(read: () => Staged) {
  return function (this: Gauge<'version' | 'gate'>): void {
    this.reset();
    const { trial, gates } = read();
    for (const one of gates) this.set({ version: trial, gate: one.gate }, one.value);
  };
}
