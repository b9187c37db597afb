// A generator process: waits for phases on its IPC channel, runs them, reports each second. Ends with its parent.
// Started by generator-pool.ts.
import { getPriority, setPriority } from 'node:os';
import { messageOf } from '../../src/errors.ts';
import { HttpClient } from './http-client.ts';
import type { Interval } from './interval.ts';
import { type PhaseLimits, PhaseRun, type PhaseSpec } from './phase-run.ts';
import { Traffic, type TrafficSettings } from './traffic.ts';

export interface GeneratorSettings {
  host: string;
  port: number;
  traffic: TrafficSettings;
  limits: PhaseLimits;
}

export type GeneratorRequest =
  | { kind: 'setup'; settings: GeneratorSettings }
  | { kind: 'phase'; id: number; spec: PhaseSpec }
  | { kind: 'stop' };

export type GeneratorReport =
  | { kind: 'ready'; priority: number }
  | { kind: 'second'; id: number; second: number; interval: Interval }
  | { kind: 'done'; id: number; cpuMs: number; resent: number }
  | { kind: 'failed'; reason: string };

/** Where the system allows it: a generator that waits for a core behind the service it loads sends late. */
const PRIORITY = -10;

let settings: GeneratorSettings | null = null;
let traffic: Traffic | null = null;
/** A recovery begins while the answers of the hold before it are still coming. */
const running = new Set<PhaseRun>();
let cpuAtLastDone = process.cpuUsage();

function report(message: GeneratorReport): void {
  process.send?.(message);
}

async function runPhase(id: number, spec: PhaseSpec): Promise<void> {
  const { host, port, limits } = settings!;
  const client = new HttpClient(host, port);
  const run = new PhaseRun(spec, {
    traffic: traffic!,
    client,
    limits,
    report: (second, interval) => report({ kind: 'second', id, second, interval }),
  });
  if (running.size === 0) cpuAtLastDone = process.cpuUsage();
  running.add(run);
  await run.run();
  running.delete(run);
  client.close();
  const { user, system } = process.cpuUsage(cpuAtLastDone);
  cpuAtLastDone = process.cpuUsage();
  report({ kind: 'done', id, cpuMs: (user + system) / 1000, resent: client.resent });
}

/** The priority that this process has now; 0 is the usual one, lower goes first. */
function raisedPriority(): number {
  try {
    setPriority(PRIORITY);
  } catch {
    // Not allowed: the report names the priority that it has.
  }
  return getPriority();
}

process.on('message', (message: GeneratorRequest) => {
  if (message.kind === 'stop') {
    for (const run of running) run.stop();
    return;
  }
  if (message.kind === 'phase') {
    runPhase(message.id, message.spec).catch((error) => report({ kind: 'failed', reason: messageOf(error) }));
    return;
  }
  settings = message.settings;
  traffic = new Traffic(settings.traffic);
  report({ kind: 'ready', priority: raisedPriority() });
});
process.on('disconnect', () => process.exit(0));
// A terminal's Ctrl-C reaches the whole process group; the parent decides what it means.
process.on('SIGINT', () => {});
