// Compares feeds of a generated world with its truth, next to simple orders of the same posts. The lists come from the
// caller: in-process ANN order, ranked order and slate, or a running service's slate. Called by evaluate and demo.ts.
import { FATIGUE } from '../generate/affinity.ts';
import { Rng } from '../generate/rng.ts';
import type { World } from '../generate/world.ts';
import { dcg, greedyIdealList, idealList, intraListDiversity, meanOf } from './slate-metrics.ts';

const DAY_MS = 24 * 3_600_000;
/** Users whose events make the popularity order, at most: a share of a large log gives the same order. */
const POPULARITY_USERS = 20_000;

/** Post ids, best first, by the name of the order; `ann`, `ranked` and `slate` are the stages, `candidates` a set. */
export type DemoLists = Partial<Record<'candidates' | 'ann' | 'ranked' | 'slate', readonly string[]>>;

/** One user's figures of the stages that were given. */
export interface UserFigures {
  /** Part of the ideal k that is among the candidates. */
  candidateRecall?: number;
  /** NDCG@k. */
  ranked?: number;
  slate?: number;
  slateWithFatigue?: number;
}

export interface DemoEvaluationOptions {
  world: World;
  /**
   * Lists for one user, at least `k` long where there are so many posts: `ann` = candidates of the nearest source by
   * similarity after the filters, `ranked` = by value-model score before re-ranking, `slate` = as served.
   */
  lists: (userId: string) => Promise<DemoLists>;
  /** Users drawn, default 300. */
  sample?: number;
  /** Length judged, default 50. */
  k?: number;
  /** Draws users and the random order, default 1. */
  seed?: number;
  /** Time of the truth's freshness, default the world's end. */
  at?: number;
  onProgress?: (fraction: number, users: number) => void;
  /** Called for each drawn user, in the order that `seed` gives. */
  onUser?: (user: number, figures: UserFigures) => void;
}

export interface OrderFigures {
  /** DCG@k ÷ ideal DCG@k; gain = probability of a satisfied engagement (World.trueAffinity), 0 for posts not eligible. */
  ndcg: number;
  ndcgStandardError: number;
  /** The same with gains reduced by the world's fatigue with repeated sub-topics and authors; ideal by greedy choice. */
  ndcgWithFatigue: number;
  ndcgWithFatigueStandardError: number;
  /** ndcg over the drawn users who have no events. null when there are none. */
  ndcgColdUsers: number | null;
  meanAffinity: number;
  /** 1 − mean cosine between the posts' sub-topics. */
  intraListDiversity: number;
  distinctSubTopics: number;
  /** Distinct posts over all lists ÷ all places. */
  coverage: number;
  /** Posts of the last 24 h. */
  freshShare: number;
  /** Posts without any event in the log. */
  unseenShare: number;
  /** Listed posts that were seen before, blocked, muted or unknown: their gain counts as 0. */
  notEligible: number;
  /** Mean length. */
  length: number;
}

export interface DemoEvaluation {
  k: number;
  users: number;
  orders: Record<string, OrderFigures>;
  /** Paired differences between neighbouring orders, over the same users. */
  steps: {
    from: string;
    to: string;
    measure: 'ndcg' | 'ndcgWithFatigue';
    gain: number;
    standardError: number;
  }[];
  /** Every stage adds: ANN to the best simple order, ranking to ANN (ndcg), the slate to ranking (with fatigue). */
  eachStageAdds: boolean | null;
}

interface Sample {
  ndcg: number;
  ndcgWithFatigue: number;
  cold: boolean;
  affinity: number;
  diversity: number;
  subTopics: number;
  fresh: number;
  unseen: number;
  notEligible: number;
  length: number;
}

const SIMPLE_ORDERS = ['random', 'newest', 'popular'] as const;
const STAGES = ['ann', 'ranked', 'slate'] as const;

export async function evaluateDemo(options: DemoEvaluationOptions): Promise<DemoEvaluation> {
  const { world, k = 50, seed = 1, at = world.options.now } = options;
  const rng = new Rng(seed, 'evaluate');
  const users = drawUsers(rng, world.options.users, options.sample ?? 300);
  const { engagement, impressions } = countEvents(world);
  const popular = [...engagement.keys()].sort((a, b) => engagement[b] - engagement[a] || b - a);
  const samples = new Map<string, Sample[]>();
  const shown = new Map<string, Set<number>>();

  for (const [done, user] of users.entries()) {
    const eligible = world.eligible(user);
    const gains = world.affinities(user, at).map((gain, post) => (eligible[post] ? gain : 0));
    const fatigue = (before: readonly number[], post: number) =>
      world.fatigue(before.slice(-FATIGUE.window), post);
    const best = idealList(gains, k);
    const ideal = dcg(best, (post) => gains[post], k);
    const idealWithFatigue = dcg(greedyIdealList(gains, k, fatigue), (post) => gains[post], k, fatigue);
    const lists: Record<string, number[]> = {
      random: randomOrder(rng, eligible, k),
      newest: firstEligible(eligible, k, (rank) => world.options.posts - 1 - rank),
      popular: firstEligible(eligible, k, (rank) => popular[rank]),
    };
    const given = await options.lists(world.userId(user));
    const figures: UserFigures = {};
    if (given.candidates && best.length > 0) {
      const proposed = new Set(given.candidates.map((id) => world.postIndex(id)));
      figures.candidateRecall = share(best, (post) => proposed.has(post));
    }
    for (const stage of STAGES) {
      const list = given[stage];
      if (list) lists[stage] = list.slice(0, k).map((id) => world.postIndex(id));
    }
    for (const [order, list] of Object.entries(lists)) {
      const known = list.filter((post) => post >= 0);
      const gainOf = (post: number) => (post >= 0 ? gains[post] : 0);
      const sample: Sample = {
        ndcg: ideal > 0 ? dcg(list, gainOf, k) / ideal : 0,
        ndcgWithFatigue: ideal > 0 ? dcg(list, gainOf, k, fatigue) / idealWithFatigue : 0,
        cold: world.profile(user).impressions === 0,
        affinity: known.reduce((sum, post) => sum + gains[post], 0) / Math.max(1, list.length),
        diversity: intraListDiversity(known, (a, b) =>
          world.similarity(world.subTopicOf(a), world.subTopicOf(b)),
        ),
        subTopics: new Set(known.map(world.subTopicOf)).size,
        fresh: share(known, (post) => at - world.createdAtOf(post) <= DAY_MS),
        unseen: share(known, (post) => impressions[post] === 0),
        notEligible: list.filter((post) => post < 0 || !eligible[post]).length,
        length: list.length,
      };
      append(samples, order, sample);
      if (order === 'ranked') figures.ranked = sample.ndcg;
      if (order === 'slate') {
        figures.slate = sample.ndcg;
        figures.slateWithFatigue = sample.ndcgWithFatigue;
      }
      if (!shown.has(order)) shown.set(order, new Set());
      for (const post of known) shown.get(order)!.add(post);
    }
    options.onUser?.(user, figures);
    options.onProgress?.((done + 1) / users.length, done + 1);
  }

  const orders = Object.fromEntries(
    [...samples].map(([order, list]) => [order, figuresOf(list, shown.get(order)!.size)]),
  );
  const steps = stepsBetween(samples, orders);
  const complete = STAGES.every((stage) => samples.has(stage));
  const decisive = steps.filter(({ to, measure }) => (to === 'slate') === (measure === 'ndcgWithFatigue'));
  return {
    k,
    users: users.length,
    orders,
    steps,
    eachStageAdds: complete ? decisive.every(({ gain, standardError }) => gain > 2 * standardError) : null,
  };
}

function drawUsers(rng: Rng, count: number, wanted: number): number[] {
  const order = Array.from({ length: count }, (_, user) => user);
  const take = Math.min(count, wanted);
  for (let i = 0; i < take; i++) {
    const j = i + rng.below(count - i);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order.slice(0, take);
}

/** Clicks (likes, replies and shares count once more) and impressions by post. */
function countEvents(world: World): { engagement: Float32Array; impressions: Uint32Array } {
  const engagement = new Float32Array(world.options.posts);
  const impressions = new Uint32Array(world.options.posts);
  for (let user = 0; user < Math.min(world.options.users, POPULARITY_USERS); user++) {
    for (const { type, postId } of world.eventsOf(user)) {
      const post = world.postIndex(postId);
      if (type === 'impression') impressions[post]++;
      else if (type === 'click' || type === 'like' || type === 'reply' || type === 'share')
        engagement[post]++;
    }
  }
  return { engagement, impressions };
}

function randomOrder(rng: Rng, eligible: Uint8Array, k: number): number[] {
  const list = new Set<number>();
  const possible = eligible.reduce((sum, flag) => sum + flag, 0);
  while (list.size < Math.min(k, possible)) {
    const post = rng.below(eligible.length);
    if (eligible[post]) list.add(post);
  }
  return [...list];
}

function firstEligible(eligible: Uint8Array, k: number, postAt: (rank: number) => number): number[] {
  const list: number[] = [];
  for (let rank = 0; rank < eligible.length && list.length < k; rank++) {
    if (eligible[postAt(rank)]) list.push(postAt(rank));
  }
  return list;
}

function share(list: readonly number[], test: (post: number) => boolean): number {
  return list.length === 0 ? 0 : list.filter(test).length / list.length;
}

function append(samples: Map<string, Sample[]>, order: string, sample: Sample): void {
  const list = samples.get(order);
  if (list) list.push(sample);
  else samples.set(order, [sample]);
}

function figuresOf(samples: readonly Sample[], distinctPosts: number): OrderFigures {
  const mean = (read: (sample: Sample) => number) => meanOf(samples.map(read)).mean;
  const cold = samples.filter((sample) => sample.cold);
  const places = samples.reduce((sum, { length }) => sum + length, 0);
  const plain = meanOf(samples.map((sample) => sample.ndcg));
  const tired = meanOf(samples.map((sample) => sample.ndcgWithFatigue));
  return {
    ndcg: plain.mean,
    ndcgStandardError: plain.standardError,
    ndcgWithFatigue: tired.mean,
    ndcgWithFatigueStandardError: tired.standardError,
    ndcgColdUsers: cold.length > 0 ? meanOf(cold.map((sample) => sample.ndcg)).mean : null,
    meanAffinity: mean((sample) => sample.affinity),
    intraListDiversity: mean((sample) => sample.diversity),
    distinctSubTopics: mean((sample) => sample.subTopics),
    coverage: distinctPosts / Math.max(1, places),
    freshShare: mean((sample) => sample.fresh),
    unseenShare: mean((sample) => sample.unseen),
    notEligible: mean((sample) => sample.notEligible),
    length: mean((sample) => sample.length),
  };
}

function stepsBetween(
  samples: Map<string, Sample[]>,
  orders: Record<string, OrderFigures>,
): DemoEvaluation['steps'] {
  const best = SIMPLE_ORDERS.reduce((a, b) => (orders[b].ndcg > orders[a].ndcg ? b : a));
  const chain = [best, ...STAGES.filter((stage) => samples.has(stage))];
  return chain.slice(1).flatMap((to, i) =>
    (['ndcg', 'ndcgWithFatigue'] as const).map((measure) => {
      const before = samples.get(chain[i])!;
      const { mean, standardError } = meanOf(
        samples.get(to)!.map((s, user) => s[measure] - before[user][measure]),
      );
      return { from: chain[i], to, measure, gain: mean, standardError };
    }),
  );
}
