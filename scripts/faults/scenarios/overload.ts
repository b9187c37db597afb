// Fault 8: twice, five and ten times of what one core sustains. The service has one core, the generator another.
import { availableParallelism } from 'node:os';
import { runCommand } from '../../../test/setup/child-process.ts';
import { Campaign } from '../../load-test/campaign.ts';
import { DEFAULT_LIMITS, type PhaseReport } from '../../load-test/phase-report.ts';
import { atLeast, atMost, type Criterion, equals, holds } from '../criterion.ts';
import { Load } from '../load.ts';
import { Impossible, type Scenario } from '../scenario.ts';
import type { Service } from '../service.ts';
import { inSite } from '../site.ts';

const DEADLINE_MS = 300;
const REFUSAL_MS = 5;
const RECOVERY_SECONDS = 5;
const FACTORS = [2, 5, 10];
const SERVICE_CORE = '0';
const GENERATOR_CORE = '1';

export const overload: Scenario = {
  id: 8,
  title: 'Overload of 2×, 5× and 10× on one core',
  async run(context) {
    if (availableParallelism() < 2) throw new Impossible('the service and the generator need a core each');
    // The stores and their proxies are not what is overloaded: they run beside the generator.
    const before = await moveTo(GENERATOR_CORE).catch(() => {
      throw new Impossible('there is no taskset (util-linux)');
    });
    return inSite(context, {}, async (site) => {
      site.defer(async () => void (await moveTo(before)));
      const env = { FEED_WORKERS: '1', FEED_DEADLINE_MS: String(DEADLINE_MS), LOG_LEVEL: 'warn' };
      const service = await site.startService({ cores: SERVICE_CORE, env });
      const load = await Load.open({ base: service.base, users: site.world.users, cores: GENERATOR_CORE });
      site.defer(() => load.close());
      const campaign = new Campaign(
        {
          load: {
            steps: {
              start: 20,
              factor: 1.4,
              max: 2000,
              list: context.quick ? [20, 40, 60, 90] : null,
              refine: 1,
            },
          },
          durationMs: context.quick ? 3000 : 8000,
          warmUpMs: 4000,
          holds: context.quick ? [5] : FACTORS,
          holdMs: context.quick ? 6000 : 60_000,
          recoveryMs: context.quick ? 8000 : 12_000,
          arrivals: 'poisson',
          burstSize: 1,
          seed: 3,
          // Fewer candidates ranked is how it copes: flagged answers are answers.
          limits: { ...DEFAULT_LIMITS, p99Ms: DEADLINE_MS, acceptDegraded: true },
          maxRate: 5000,
        },
        { pool: load.pool, servicePid: service.pid, observer: { second: () => {}, phaseEnds: () => {} } },
      );
      const { knee, holds: held, phases } = await campaign.run();
      context.note(`knee ${knee?.rate}/s`);
      context.note(await refusedWithin(service));
      const invalid = phases.flatMap((phase) => (phase.role === 'hold' ? phase.void : []));
      const steps = phases.filter(({ role, problems }) => role === 'step' && problems.length === 0);
      const atKnee = Math.max(...steps.map(rankedPerSecond), 0.1);
      const criteria: Criterion[] = [
        holds(
          'a knee is found',
          knee?.rate != null,
          `${knee?.rate ?? 'none'}/s with a p99 within ${DEADLINE_MS} ms`,
        ),
        holds('the generator kept its schedule', invalid.length === 0, invalid.join('; ') || 'yes'),
        holds('the process lives', service.alive, service.alive ? 'yes' : service.lastLine()),
      ];
      for (const hold of held) {
        const name = `${hold.factor}×`;
        const phase = phases.find((one) => one.role === 'hold' && one.rate === hold.rate)!;
        const { failed, timedOut, wrong } = phase.counts.feed;
        criteria.push(
          atLeast(
            `${name} (${hold.rate.toFixed(0)}/s): feeds ranked by a model, of the knee’s ${atKnee.toFixed(1)}/s`,
            (100 * rankedPerSecond(phase)) / atKnee,
            90,
            { unit: '%', timed: true },
          ),
          atMost(`${name}: p99 of what was accepted`, hold.latencyP99Ms, DEADLINE_MS, {
            unit: 'ms',
            timed: true,
          }),
          atMost(`${name}: p99 of the refusals (${hold.refused})`, hold.refusedP99Ms ?? 0, REFUSAL_MS, {
            unit: 'ms',
            timed: true,
          }),
          equals(`${name}: failed, late or wrong`, failed + timedOut + wrong, 0),
          atMost(`${name}: recovered after`, hold.recoverySeconds, RECOVERY_SECONDS, {
            unit: 's',
            timed: true,
          }),
        );
      }
      return criteria;
    });
  },
};

/** This process, and with it what it starts from now on. Gives the cores that it had. */
async function moveTo(cores: string): Promise<string> {
  const pid = String(process.pid);
  const before = (await runCommand('taskset', ['-cp', pid])).trim().split(' ').at(-1) ?? cores;
  await runCommand('taskset', ['-acp', cores, pid]);
  return before;
}

/** The service's own word on its refusals, from their headers to the answer: the rest is the way and the generator. */
async function refusedWithin(service: Service): Promise<string> {
  const samples = await service.metrics();
  const labels = ['route="/feed/:userId"', 'status="503"'];
  const name = 'feedrank_http_request_seconds';
  const all = samples.sum(`${name}_count`, ...labels) ?? 0;
  const within = samples.sum(`${name}_bucket`, ...labels, `le="${REFUSAL_MS / 1000}"`) ?? 0;
  return `${all} refused, ${((100 * within) / Math.max(1, all)).toFixed(2)} % within ${REFUSAL_MS} ms of their headers`;
}

/** Answers of the lowest rungs are answers, but no goodput: no model ranked them. */
function rankedPerSecond({ goodputPerSecond, causes, seconds }: PhaseReport): number {
  return goodputPerSecond - (causes['degraded:ranking_unavailable'] ?? 0) / seconds;
}
