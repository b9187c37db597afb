// `npm run evaluate -- demo`: what each stage adds, on a generated world with known affinities. Composes the service
// in this process, asks it for slates with explanations, and reads every stage's order off them.
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { composeService } from '../../src/compose.ts';
import { type Config, readConfig } from '../../src/config.ts';
import type { SlatePost } from '../../src/contracts.ts';
import { deadlineIn } from '../../src/deadline.ts';
import { EMBEDDED_STATE } from '../../src/redis-settings.ts';
import type { SlateMaker } from '../../src/slate-maker.ts';
import { buildWorld } from '../demo/build-world.ts';
import { generateWorld, type World } from '../generate/world.ts';
import { type FlagValues, integerFlag, runCommand, textFlag } from '../import/command.ts';
import { startProgress } from '../import/progress.ts';
import { type DemoLists, evaluateDemo } from './demo-evaluation.ts';
import { compareUsers, configWithInterests, type FiguresByUser } from './demo-interests.ts';
import { changesOf, rankerVariants } from './demo-rankers.ts';
import { runFacts } from './run-facts.ts';

const K = 50;
const SLATE_MS = 10_000;

const HELP = `
npm run evaluate -- demo [flags]

Makes a world (once, kept in --cache), serves it in this process, and compares with the true affinities: the order of
the nearest-neighbour search alone, of the ranker, and of the slate, next to random, newest and most popular.

  --posts N --users M --seed S   the world (default 100000, 5000, 1)
  --sample U                     users asked for (default 300)
  --interests K                  also serve the world with nearest.interests = K; differences paired over the users
  --rankers                      also serve it by ranker-dcn, and by both behind the light ranker (PRE_RANK=250);
                                 differences paired over the users, with 95 % intervals
  --cache DIR                    where worlds are kept (default .cache/evaluate)
  --json FILE                    write the figures to a file instead of stdout
  --help`;

export async function runDemoEvaluation(argv: string[]): Promise<void> {
  await runCommand(
    {
      help: HELP,
      flags: {
        ...Object.fromEntries(
          ['posts', 'users', 'seed', 'sample', 'interests', 'cache'].map((name) => [
            name,
            { type: 'string' as const },
          ]),
        ),
        rankers: { type: 'boolean' },
      },
      run: evaluateStages,
    },
    argv,
  );
}

async function evaluateStages(flags: FlagValues): Promise<object> {
  const posts = integerFlag(flags, 'posts', 100_000, 2000, 5_000_000);
  const users = integerFlag(flags, 'users', 5000, 10, 1_000_000);
  const seed = integerFlag(flags, 'seed', 1, 0, 2 ** 31);
  const interests = flags.interests === undefined ? null : integerFlag(flags, 'interests', 0, 0, 4);
  const dataDir = join(textFlag(flags, 'cache') ?? '.cache/evaluate', `demo-${posts}-${users}-${seed}`);
  // Made anew each time: features are read as of now, and a kept world would have aged.
  rmSync(dataDir, { recursive: true, force: true });
  mkdirSync(dataDir, { recursive: true });
  const world = generateWorld({ posts, users, seed, now: Date.now() });
  // Every page is ranked for itself.
  const embedded = { ...EMBEDDED_STATE, DATABASE_URL: '', SLATE_CACHE_MS: '0' };
  const config = readConfig({ ...process.env, ...embedded, DATA_DIR: dataDir });
  await buildWorld(world, { dataDir, modelsDir: config.MODELS_DIR, efConstruction: 80 });
  const sample = integerFlag(flags, 'sample', 300, 1, users);
  const served = await evaluateServed(world, config, sample);
  const { models, evaluation, byUser } = served;
  const rankers = flags.rankers === true ? await compareRankers(world, config, sample, dataDir) : null;
  const report = {
    ...{ ...world.options, models, ...evaluation, run: runFacts() },
    ...(rankers ? { rankers } : {}),
  };
  if (interests === null) return report;
  const other = configWithInterests(config, dataDir, interests);
  const compared = await evaluateServed(world, other, sample);
  return { ...report, interests: { compared: interests, ...compareUsers(world, compared.byUser, byUser) } };
}

/** By variant: its models and, but for the first, what it changes. */
async function compareRankers(world: World, config: Config, sample: number, dataDir: string) {
  const figures: Record<string, object> = {};
  const seen = new Map<string, FiguresByUser>();
  for (const { name, config: own, against } of await rankerVariants(config, dataDir)) {
    const { models, evaluation, byUser } = await evaluateServed(world, own, sample);
    seen.set(name, byUser);
    const { ranked, slate } = evaluation.orders;
    figures[name] = {
      models,
      ndcg: { ranked: ranked.ndcg, slate: slate.ndcg, slateWithFatigue: slate.ndcgWithFatigue },
      ...(against === null ? {} : { against, changes: changesOf(byUser, seen.get(against)!) }),
    };
  }
  return figures;
}

/** The stages of the service that `config` composes over the world's stores. */
async function evaluateServed(world: World, config: Config, sample: number) {
  const service = await composeService(config, pino({ level: 'warn' }));
  const progress = startProgress('evaluate');
  const models = new Set<string>();
  const byUser: FiguresByUser = new Map();
  try {
    const evaluation = await evaluateDemo({
      world,
      sample,
      k: K,
      lists: (userId) => stageLists(service.slates, userId, config.CANDIDATES, config.SLATE_SIZE, models),
      onUser: (user, figures) => byUser.set(user, figures),
      onProgress: progress.update,
    });
    progress.stop();
    return { models: [...models], evaluation, byUser };
  } finally {
    await service.close();
  }
}

/** Each stage's first K posts for one user, from the explanations of a slate as long as the candidate set. */
async function stageLists(
  slates: SlateMaker,
  userId: string,
  candidates: number,
  slateSize: number,
  models: Set<string>,
): Promise<DemoLists> {
  const ask = (size: number, explain: 0 | 1) =>
    slates.slate(
      {
        requestId: `evaluate-${userId}`,
        userId,
        slateSize: size,
        exclude: new Uint32Array(0),
        explain,
        explore: false,
      },
      deadlineIn(SLATE_MS),
    );
  const all = await ask(candidates, 1);
  const served = await ask(slateSize, 0);
  models.add(all.model);
  if (all.degraded.length > 0)
    throw new Error(`the slate of ${userId} is degraded: ${all.degraded.join(', ')}`);
  const nearestRank = (post: SlatePost) =>
    post.explain!.sources.find(({ source }) => source === 'nearest')?.rank ?? Number.POSITIVE_INFINITY;
  return {
    candidates: all.posts.map((post) => post.postId),
    ann: firstBy(all.posts, nearestRank),
    ranked: firstBy(all.posts, (post) => post.explain!.rankedPosition),
    slate: served.posts.slice(0, K).map((post) => post.postId),
  };
}

/** The K posts with the smallest finite key, in its order. */
function firstBy(posts: readonly SlatePost[], key: (post: SlatePost) => number): string[] {
  return posts
    .map((post) => ({ id: post.postId, key: key(post) }))
    .filter((one) => Number.isFinite(one.key))
    .sort((a, b) => a.key - b.key)
    .slice(0, K)
    .map((one) => one.id);
}
