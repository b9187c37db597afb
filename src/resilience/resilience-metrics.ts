// Metrics of breakers, retries, admission and the workers' pool, on the process's registry; compose wires them.
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { type Admission, PRIORITIES, type Priority } from '../admission.ts';
import type { CallOutcome, Policy } from '../resilience.ts';
import type { BreakerState } from './breaker.ts';
import type { Policies } from './policies.ts';

const STATE_CODES: Readonly<Record<BreakerState, number>> = { closed: 0, half_open: 1, open: 2 };

export interface ResilienceMetrics {
  onCall(dependency: string, outcome: CallOutcome): void;
  onRetry(dependency: string): void;
  onDecision(priority: Priority, admitted: boolean, quality: number): void;
  onWorkerLost(): void;
  /** Names what is read when metrics are asked for. */
  watch(read: { policies: Policies; admission: Admission; pool: { lost: number } }): void;
}

export function createResilienceMetrics(registry: Registry): ResilienceMetrics {
  const registers = [registry];
  const calls = new Counter({
    name: 'feedrank_dependency_calls_total',
    help: 'Attempts to call a dependency, by outcome; open and shed ones never reached it.',
    labelNames: ['dependency', 'outcome'],
    registers,
  });
  const retries = new Counter({
    name: 'feedrank_dependency_retries_total',
    help: 'Attempts that repeated a failed one.',
    labelNames: ['dependency'],
    registers,
  });
  const decisions = new Counter({
    name: 'feedrank_admission_total',
    help: 'Feed requests let in and refused, by priority.',
    labelNames: ['priority', 'decision'],
    registers,
  });
  const quality = new Histogram({
    name: 'feedrank_quality_factor',
    help: 'Share of the usual candidates that an admitted request may rank.',
    buckets: [0.25, 0.4, 0.55, 0.7, 0.85, 0.999, 1],
    registers,
  });
  const lost = new Counter({
    name: 'feedrank_workers_hung_total',
    help: 'Feed workers that hung and got no more work.',
    registers,
  });
  return {
    onCall: (dependency, outcome) => calls.inc({ dependency, outcome }),
    onRetry: (dependency) => retries.inc({ dependency }),
    onDecision(priority, admitted, factor) {
      decisions.inc({ priority, decision: admitted ? 'admitted' : 'refused' });
      if (admitted) quality.observe(factor);
    },
    onWorkerLost: () => lost.inc(),
    watch: (read) => watch(registers, read),
  };
}

function watch(registers: Registry[], read: Parameters<ResilienceMetrics['watch']>[0]): void {
  const { policies, admission, pool } = read;
  const breakers: Gauge<'dependency'> = new Gauge({
    name: 'feedrank_breaker_state',
    help: '0 closed, 1 half-open, 2 open.',
    labelNames: ['dependency'],
    registers,
    collect() {
      for (const { dependency, state } of Object.values(policies) as Policy[]) {
        breakers.set({ dependency }, STATE_CODES[state]);
      }
    },
  });
  new Gauge({
    name: 'feedrank_admission_limit',
    help: 'Feed requests that may be in flight, as learned from their latency.',
    registers,
    collect() {
      this.set(admission.limit);
    },
  });
  new Gauge({
    name: 'feedrank_admission_in_flight',
    help: 'Feed requests in flight, by priority; what to scale replicas by.',
    labelNames: ['priority'],
    registers,
    collect() {
      for (const priority of PRIORITIES) this.set({ priority }, admission.inFlight(priority));
    },
  });
  new Gauge({
    name: 'feedrank_workers_hung',
    help: 'Feed workers that hang now.',
    registers,
    collect() {
      this.set(pool.lost);
    },
  });
}
