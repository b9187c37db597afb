// What the service itself reaches on KuaiRand: a second pass in which every probability and every slate of the test comes
// out of the service's own pipeline, with a ranker that was trained on its own features alone. Called by kuairand.ts.
import { HEADS } from '../../src/vocabulary.ts';
import type { KuairandData } from './kuairand-impressions.ts';
import { kuairandService, RETRIEVAL } from './kuairand-service.ts';
import { ReplayedPipeline, UNTOUCHED } from './replay-pipeline.ts';
import { pooledAuc } from './replay-table.ts';

const SLATE = 50;
const CANDIDATES = 1000;
/** The click is what is measured; the shipped weights would order by likes and shares too. */
const WEIGHTS = { click: 1, like: 0, reply: 0, share: 0, dwell: 0, negative: 0 };

export interface ServedFigures {
  /** Pooled AUC of the test's impressions; long_view is the head `dwell`. */
  auc: Record<'click' | 'long_view' | 'like', number>;
  impressions: number;
  requests: number;
  /** Part of the requests whose clicked video was among the candidates. */
  'recall@1000': number;
  /** Of the ranked list, and of the slate with the shipped rules. */
  'ndcg@50': { ranked: number; reranked: number };
  msPerRequest: number;
}

/** `requests`: rows of the test whose clicked video the service is asked for. */
export async function serveKuairand(
  data: KuairandData,
  modelDir: string,
  requests: ReadonlySet<number>,
  seed: number,
  onProgress: (fraction: number) => void,
): Promise<ServedFigures> {
  const { set, video, outcomes } = data;
  const { service, events } = kuairandService(data, seed);
  const pipeline = await ReplayedPipeline.open(service, modelDir, { weights: WEIGHTS, retrieval: RETRIEVAL });
  const from = set.at.findIndex((at) => at >= set.testFromMs);
  const scores = HEADS.map(() => new Float32Array(set.rows - from));
  const sums = { asked: 0, found: 0, ranked: 0, reranked: 0, ms: 0 };
  try {
    for (let row = from; row < set.rows; row++) {
      const [user, now] = [set.user[row], set.at[row]];
      events.advance(now);
      const shown = service.rowOf(video[row]);
      const probabilities = await pipeline.probabilities(user, Uint32Array.of(shown), now);
      for (let h = 0; h < HEADS.length; h++) scores[h][row - from] = probabilities[h];
      if (requests.has(row)) {
        const id = data.videos[video[row]];
        sums.asked++;
        const began = performance.now();
        const whole = await pipeline.feed(user, now, CANDIDATES, CANDIDATES, UNTOUCHED);
        sums.ms += performance.now() - began;
        const rank = whole.posts.findIndex((post) => post.postId === id);
        if (rank >= 0) sums.found++;
        sums.ranked += gain(rank);
        const slate = await pipeline.feed(user, now, CANDIDATES, SLATE, {});
        sums.reranked += gain(slate.posts.findIndex((post) => post.postId === id));
      }
      if (row % 256 === 0) onProgress((row - from) / (set.rows - from));
    }
  } finally {
    await pipeline.close();
  }
  onProgress(1);
  const auc = (head: (typeof HEADS)[number]) =>
    pooledAuc(scores[HEADS.indexOf(head)], outcomes[head].subarray(from));
  const n = Math.max(1, sums.asked);
  return {
    auc: { click: auc('click'), long_view: auc('dwell'), like: auc('like') },
    impressions: set.rows - from,
    requests: sums.asked,
    'recall@1000': sums.found / n,
    'ndcg@50': { ranked: sums.ranked / n, reranked: sums.reranked / n },
    msPerRequest: sums.ms / n,
  };
}

function gain(rank: number): number {
  return rank < 0 || rank >= SLATE ? 0 : 1 / Math.log2(rank + 2);
}
