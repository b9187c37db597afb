// Asks a running service for the feeds of a generated world and compares them with the
// truth. What happens before the slate is not visible over HTTP: demo-stages.ts looks at that in-process.
import { FeedrankError } from '../../src/errors.ts';
import { generateWorld } from '../generate/world.ts';
import {
  type Command,
  type FlagValues,
  integerFlag,
  runCommand,
  textFlag,
  UsageError,
} from '../import/command.ts';
import { startProgress } from '../import/progress.ts';
import { evaluateDemo } from './demo-evaluation.ts';

const K = 50;

const HELP = `
node scripts/evaluate/demo.ts --url URL --posts N --users M --seed S [flags]

NDCG@50 of served feeds against the true affinities of the generated world that the service holds, next to random,
newest and most popular. The world's flags must be those that it was generated with.

  --url URL            the service, for example http://127.0.0.1:3000
  --posts N --users M --seed S --days D --events-per-user E --now TIME   as given to generate
  --sample U           users asked for (default 300)
  --token TOKEN        sent as "authorization: Bearer TOKEN"
  --json FILE          write the figures to a file instead of stdout
  --help`;

export const servedDemoCommand: Command = {
  help: HELP,
  flags: Object.fromEntries(
    ['url', 'posts', 'users', 'seed', 'days', 'events-per-user', 'now', 'sample', 'token'].map((name) => [
      name,
      { type: 'string' as const },
    ]),
  ),
  run: evaluateService,
};

async function evaluateService(flags: FlagValues): Promise<object> {
  const url = textFlag(flags, 'url');
  if (!url || !URL.canParse(url)) throw new UsageError('--url must be the address of a service');
  for (const required of ['posts', 'users', 'now']) {
    if (flags[required] === undefined) throw new UsageError(`--${required} is required`);
  }
  const nowText = textFlag(flags, 'now')!;
  const now = /^\d+$/.test(nowText) ? Number(nowText) : Date.parse(nowText);
  if (Number.isNaN(now))
    throw new UsageError(`--now must be ISO-8601 or unix milliseconds, not "${nowText}"`);
  const world = generateWorld({
    posts: integerFlag(flags, 'posts', 0, 1, 20_000_000),
    users: integerFlag(flags, 'users', 0, 1, 10_000_000),
    seed: integerFlag(flags, 'seed', 1, 0, Number.MAX_SAFE_INTEGER),
    days: integerFlag(flags, 'days', 14, 1, 3_650),
    eventsPerUser: integerFlag(flags, 'events-per-user', 120, 0, 10_000),
    now,
  });
  const token = textFlag(flags, 'token');
  const progress = startProgress('evaluate');
  const evaluation = await evaluateDemo({
    world,
    sample: integerFlag(flags, 'sample', 300, 1, 1_000_000),
    k: K,
    lists: async (userId) => ({ slate: await servedFeed(url, userId, token) }),
    onProgress: progress.update,
  });
  progress.stop();
  return { url, ...world.options, ...evaluation };
}

/** The first K posts served to a user. */
async function servedFeed(url: string, userId: string, token: string | undefined): Promise<string[]> {
  const address = new URL(
    `feed/${encodeURIComponent(userId)}?limit=${K}`,
    url.endsWith('/') ? url : `${url}/`,
  );
  const response = await fetch(address, {
    headers: token ? { authorization: `Bearer ${token}` } : {},
    signal: AbortSignal.timeout(10_000),
  });
  if (!response.ok) throw new FeedrankError('unavailable', `${address.pathname}: HTTP ${response.status}`);
  const body = (await response.json()) as { posts?: { id?: string; postId?: string }[] };
  return (body.posts ?? []).map((post) => post.id ?? post.postId ?? '');
}

if (import.meta.main) await runCommand(servedDemoCommand);
