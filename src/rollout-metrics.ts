// Metrics of the model life cycle, on the process's registry.
import { Counter, Gauge, type Registry } from 'prom-client';
import type { GateResult } from './ranking/lifecycle/gates.ts';

export interface StagedModel {
  name: string;
  version: string;
  stage: string;
}

export interface RolloutMetrics {
  slates: Counter<'arm' | 'model'>;
  shadow: Counter<'outcome'>;
  rollbacks: Counter<'reason'>;
  refusals: Counter<'kind'>;
  /** Names where stages and gates are read when metrics are asked for. */
  watch(
    read: () => { models: StagedModel[]; trials: { model: string; gates: readonly GateResult[] }[] },
  ): void;
}

export function createRolloutMetrics(registry: Registry): RolloutMetrics {
  const registers = [registry];
  return {
    slates: new Counter({
      name: 'feedrank_arm_slates_total',
      help: 'Slates by arm (default, canary, control, or an experiment’s) and the model that ranked them.',
      labelNames: ['arm', 'model'],
      registers,
    }),
    shadow: new Counter({
      name: 'feedrank_shadow_total',
      help: 'Requests chosen for shadow scoring, by what became of them: compared, failed, skipped.',
      labelNames: ['outcome'],
      registers,
    }),
    rollbacks: new Counter({
      name: 'feedrank_model_rollbacks_total',
      help: 'Models that this replica rolled back by itself, by the gate that failed.',
      labelNames: ['reason'],
      registers,
    }),
    refusals: new Counter({
      name: 'feedrank_refusals_total',
      help: 'Models, indexes, rules and experiments that were refused, by kind.',
      labelNames: ['kind'],
      registers,
    }),
    watch: (read) => watch(registers, read),
  };
}

function watch(registers: Registry[], read: Parameters<RolloutMetrics['watch']>[0]): void {
  const info: Gauge<'name' | 'version' | 'stage'> = new Gauge({
    name: 'feedrank_model_stage',
    help: 'Always 1; the labels name each open model and its stage.',
    labelNames: ['name', 'version', 'stage'],
    registers,
    collect() {
      info.reset();
      for (const { name, version, stage } of read().models) info.set({ name, version, stage }, 1);
    },
  });
  const gate: Gauge<'model' | 'gate'> = new Gauge({
    name: 'feedrank_model_gate',
    help: 'The figure of each gate of the model on trial, for example rank_correlation or calibration.',
    labelNames: ['model', 'gate'],
    registers,
    collect() {
      gate.reset();
      for (const { model, gates } of read().trials)
        for (const one of gates) gate.set({ model, gate: one.gate }, one.value);
    },
  });
  const failed: Gauge<'model' | 'gate'> = new Gauge({
    name: 'feedrank_model_gate_failed',
    help: '1 where a gate of the model on trial has failed, 0 where it passes or waits for samples.',
    labelNames: ['model', 'gate'],
    registers,
    collect() {
      failed.reset();
      for (const { model, gates } of read().trials)
        for (const one of gates) failed.set({ model, gate: one.gate }, one.status === 'fail' ? 1 : 0);
    },
  });
  const correlation = new Gauge({
    name: 'feedrank_shadow_correlation',
    help: 'Spearman correlation of the values of the model in shadow with those of the model that serves.',
    labelNames: ['model'],
    registers,
    collect() {
      correlation.reset();
      for (const { model, gates } of read().trials) {
        const found = gates.find((one) => one.gate === 'rank_correlation' && one.status !== 'waiting');
        if (found) correlation.set({ model }, found.value);
      }
    },
  });
}
