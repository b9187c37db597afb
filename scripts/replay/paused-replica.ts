// A replica stopped with SIGSTOP and continued: how long until it has what the other one wrote meanwhile, and whether its
// answers until then say that they are behind. Called by soak.ts.
import { secondsUntil, sleep } from '../faults/clock.ts';
import type { Service } from '../faults/service.ts';
import { callApi } from './api-client.ts';

export interface PauseReport {
  seconds: number;
  /** From SIGCONT until the last post of the pause can be retrieved; null when it never could. */
  caughtUpSeconds: number | null;
  /** Feeds answered after SIGCONT with `changes_late` or `changes_stale`. */
  flagged: number;
  /** Feeds answered without either although the first post of the pause was not there afterwards. */
  silent: number;
}

export interface PauseOptions {
  prefix: string;
  pauseSeconds: number;
  /** Replicas out of rotation: a balancer sees within a moment that one does not answer. */
  stopped: Set<string>;
}

/** Feeds asked for just before SIGCONT: they wait in the socket and are the first that it answers. */
const WAITING = 4;
const WAITING_MS = 1000;
const CATCH_UP_MS = 30_000;

export async function pauseReplica(
  paused: Service,
  other: Service,
  { prefix, pauseSeconds, stopped }: PauseOptions,
): Promise<PauseReport> {
  stopped.add(paused.base);
  paused.signal('SIGSTOP');
  try {
    const write = async (name: string) => {
      const post = {
        id: `${prefix}${name.replaceAll(' ', '-')}`,
        authorId: `${prefix}other`,
        createdAt: Date.now(),
        title: name,
      };
      await callApi(other.base, 'POST', '/posts', { posts: [post] });
      return async () =>
        (await callApi(paused.base, 'GET', `/posts/${post.id}/similar?limit=1`)).status === 200;
    };
    const hasFirst = await write('written first while the other slept');
    await sleep(pauseSeconds * 1000 - WAITING_MS);
    const hasLast = await write('written last while the other slept');
    const report: PauseReport = { seconds: pauseSeconds, caughtUpSeconds: null, flagged: 0, silent: 0 };
    const waiting = Array.from({ length: WAITING }, (_, i) => readOnce(`u${i}`, paused, hasFirst, report));
    await sleep(WAITING_MS);
    paused.signal('SIGCONT');
    let n = WAITING;
    report.caughtUpSeconds = await secondsUntil(async () => {
      await readOnce(`u${n++}`, paused, hasFirst, report);
      return hasLast();
    }, CATCH_UP_MS);
    await Promise.all(waiting);
    return report;
  } finally {
    paused.signal('SIGCONT');
    stopped.delete(paused.base);
  }
}

/**
 * A feed, and right after it whether the pause's first post is there: if not, the feed was behind too, by longer than an
 * answer may be without saying so.
 */
async function readOnce(
  userId: string,
  paused: Service,
  hasFirst: () => Promise<boolean>,
  report: PauseReport,
): Promise<void> {
  const answer = await callApi(paused.base, 'GET', `/feed/${userId}?limit=5`).catch(() => null);
  if (answer?.status !== 200) return;
  const { degraded } = answer.body as { degraded: string[] };
  if (degraded.some((cause) => cause === 'changes_late' || cause === 'changes_stale')) report.flagged++;
  else if (!(await hasFirst())) report.silent++;
}
