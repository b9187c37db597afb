// KuaiRand's impressions and watches as events of the replayed service. Called by kuairand.ts.
import type { Post } from '../../src/contracts.ts';
import { type EventType, LONG_DWELL_MS } from '../../src/vocabulary.ts';
import type { KuairandData } from './kuairand-impressions.ts';
import { type EventStream, EventStreams, ReplayedService } from './replay-service.ts';

/** Sources of the service as they come, but for ages: these videos are all of some weeks, shown for years. */
export const RETRIEVAL = {
  maxAgeHours: null,
  trending: { windowHours: 100_000, boardSize: 4000, perLanguage: 4000 },
  fresh: { maxAgeHours: 100_000 },
};

/** To propose from, before a list ranker cuts: each source in full. */
export const WIDE_RETRIEVAL = {
  ...RETRIEVAL,
  quotas: { nearest: 1, similar: 1, trending: 1, fresh: 0.1, following: 0 },
  similar: { seeds: 20 },
};

const OUTCOMES: [keyof KuairandData['outcomes'], EventType][] = [
  ['click', 'click'],
  ['like', 'like'],
  ['reply', 'reply'],
  ['share', 'share'],
  ['negative', 'not_interested'],
];

export interface KuairandService {
  service: ReplayedService;
  /** All that happened, to be applied up to the moment of each impression. */
  events: EventStreams;
}

/** Videos as posts: the author, the first tag as the topic, the day of the upload. */
export function kuairandService(data: KuairandData, seed: number): KuairandService {
  const { videos, details, set } = data;
  const posts = videos.map((id): Post => {
    const detail = details.get(id);
    const uploadedAt = detail?.uploadedAt ?? Number.NaN;
    return {
      id,
      authorId: detail?.author || 'unknown',
      createdAt: Number.isFinite(uploadedAt) ? uploadedAt : set.at[0],
      topic: detail?.tag ?? '',
      mediaType: 'video',
    };
  });
  const service = new ReplayedService(posts, seed);
  // Every video of the catalogue can be retrieved, shown before or not.
  for (let video = 0; video < videos.length; video++) service.add(video);
  const { watches, impressions, outcomes } = streams(service, data);
  return { service, events: new EventStreams([watches, impressions, outcomes]) };
}

function streams(service: ReplayedService, data: KuairandData): Record<string, EventStream> {
  const { set, video, watched, knownAt, outcomes, playMs } = data;
  const ended = Array.from({ length: set.rows }, (_, row) => row).sort(
    (a, b) => knownAt[a] - knownAt[b] || a - b,
  );
  return {
    // A watch of before the impressions is a click, whose impression is not on record.
    watches: {
      length: watched.at.length,
      at: (i) => watched.at[i],
      apply: (i) => {
        const event = { user: watched.user[i], post: watched.video[i], at: watched.at[i] };
        service.apply({ ...event, type: 'click', dwellMs: watched.long[i] === 1 ? LONG_DWELL_MS : 0 });
        if (watched.liked[i] === 1) service.apply({ ...event, type: 'like' });
      },
    },
    impressions: {
      length: set.rows,
      at: (i) => set.at[i],
      apply: (i) => service.apply({ user: set.user[i], post: video[i], type: 'impression', at: set.at[i] }),
    },
    // What became of an impression is known when the play has ended.
    outcomes: {
      length: set.rows,
      at: (i) => knownAt[ended[i]],
      apply: (i) => {
        const row = ended[i];
        const event = { user: set.user[row], post: video[row], at: knownAt[row] };
        for (const [head, type] of OUTCOMES) {
          if (outcomes[head][row] === 1) service.apply({ ...event, type });
        }
        const dwellMs = Math.max(0, playMs[row] || 0);
        if (dwellMs > 0) service.apply({ ...event, type: 'dwell', dwellMs });
      },
    },
  };
}
