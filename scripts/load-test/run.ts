// One load test from the service's start to the written report. Called by scripts/load-test.ts.
import { writeFile } from 'node:fs/promises';
import { type Machine, machine } from '../bench/machine.ts';
import { Campaign, type CampaignResult } from './campaign.ts';
import { GeneratorPool } from './generator-pool.ts';
import { htmlReport } from './html-report.ts';
import { loopbackTarget } from './loopback.ts';
import type { LoadTestOptions } from './options.ts';
import type { PhaseReport } from './phase-report.ts';
import { coreCount } from './pinning.ts';
import { preflight, type ServiceFacts } from './preflight.ts';
import { ProgressLine } from './progress-line.ts';
import { startServiceUnderTest } from './service-under-test.ts';
import { userCount } from './traffic.ts';

export interface LoadTestReport extends CampaignResult {
  startedAt: string;
  machine: Machine;
  service: ServiceFacts & { url: string; startedHere: string | null; cores: string | null };
  settings: {
    arrivals: string;
    burstSize: number;
    eventShare: number;
    posts: number;
    users: number;
    zipfExponent: number;
    profilesChecked: number;
    generators: number;
    generatorCores: string | null;
    /** As nice: 0 is the usual one, lower goes first. */
    generatorPriority: number;
    timeoutMs: number;
    maxInFlight: number;
    seed: number;
    limits: LoadTestOptions['campaign']['limits'];
  };
  /** `phase: reason` of every void phase that was not run again; not empty = the run says nothing. */
  void: string[];
}

/** Ctrl-C (SIGINT) or SIGTERM ends the load early; the report is returned, and written to `html`, all the same. */
export async function runLoadTest(options: LoadTestOptions): Promise<LoadTestReport> {
  const open = new AsyncDisposableStack();
  try {
    const report = await measure(options, open);
    if (options.html) await writeFile(options.html, htmlReport(report));
    return report;
  } finally {
    await open.disposeAsync();
  }
}

/** What it opens goes onto the stack. */
async function measure(options: LoadTestOptions, open: AsyncDisposableStack): Promise<LoadTestReport> {
  const progress = new ProgressLine();
  const startedAt = new Date().toISOString();
  const { pinning, service } = options;
  const note = (text: string) => progress.note(text);
  let campaign: Campaign | null = null;
  const interrupt = () => {
    // Before the load there is nothing to report; a second time it is meant.
    if (campaign === null || campaign.interrupted) process.exit(130);
    campaign.interrupt();
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, interrupt);
    open.defer(() => void process.off(signal, interrupt));
  }
  const started =
    'start' in service
      ? await startServiceUnderTest({
          stores: service.start,
          dataDir: service.dataDir,
          cores: pinning?.service ?? null,
          coreCount: pinning ? coreCount(pinning.service) : 0,
          note,
        })
      : null;
  if (started) open.defer(() => started.stop());
  const target = 'target' in service ? service.target : loopbackTarget(started!.base);
  const servicePid = 'target' in service ? service.pid : started!.pid;
  const before = await preflight(target, options);
  const { facts, profiles, served } = before;
  note(`${target.base}: ${facts.posts ?? '?'} posts, ${facts.search}, ${facts.model}`);
  const pool = await GeneratorPool.start(
    {
      host: target.host,
      port: target.port,
      traffic: {
        authority: target.base.slice('http://'.length),
        apiKey: options.apiKey,
        eventShare: options.eventShare,
        posts: options.posts,
        users: options.users,
        zipfExponent: options.zipfExponent,
        seed: options.campaign.seed,
        profiles,
        served,
      },
      limits: { timeoutMs: options.timeoutMs, maxInFlight: options.maxInFlight, posts: options.posts },
    },
    { size: options.workers, cores: pinning?.generator ?? null },
  );
  open.defer(() => pool.close());
  campaign = new Campaign(options.campaign, { pool, servicePid, observer: progress });
  const result = await campaign.run();
  const { arrivals, burstSize, seed, limits } = options.campaign;
  return {
    startedAt,
    machine: machine(),
    service: {
      ...facts,
      url: target.base,
      startedHere: started?.stores ?? null,
      cores: started ? (pinning?.service ?? null) : null,
    },
    settings: {
      arrivals,
      burstSize,
      eventShare: options.eventShare,
      posts: options.posts,
      users: userCount(options.users),
      zipfExponent: options.zipfExponent,
      profilesChecked: Object.keys(profiles).length,
      generators: options.workers,
      generatorCores: pinning?.generator ?? null,
      generatorPriority: pool.priority,
      timeoutMs: options.timeoutMs,
      maxInFlight: options.maxInFlight,
      seed,
      limits,
    },
    ...result,
    void: result.phases.flatMap(voidReasons),
  };
}

function voidReasons(phase: PhaseReport): string[] {
  if (phase.role === 'warm-up' || phase.superseded) return [];
  return phase.void.map((reason) => `${phase.role} ${phase.name}: ${reason}`);
}
