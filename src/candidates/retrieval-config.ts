// Everything that tunes retrieval, with its defaults; parsed once, plain JSON so that it can be sent to workers.
import { z } from 'zod';
import { FeedrankError } from '../errors.ts';

const share = (value: number, text: string) => z.number().min(0).max(4).default(value).describe(text);
const count = (value: number, max: number, text: string) =>
  z.number().int().min(0).max(max).default(value).describe(text);

const retrievalConfigSchema = z.strictObject({
  quotas: z
    .strictObject({
      nearest: share(1, 'posts nearest to the user vector'),
      following: share(0.25, 'newest posts of followed authors'),
      trending: share(0.15, 'time-decayed engagement'),
      fresh: share(0.15, 'new posts with few impressions'),
      similar: share(0.25, 'neighbours of the last posts the user engaged with'),
    })
    .prefault({})
    .describe(
      'how many posts each source proposes, as a share of the candidates asked for; over the limit, posts are ' +
        'kept in these proportions',
    ),
  maxAgeHours: z
    .number()
    .positive()
    .max(1e6)
    .nullable()
    .default(720)
    .describe('older posts are left out unless too few remain; null = any age'),
  nearest: z
    .strictObject({
      interests: count(
        2,
        4,
        'groups of the history whose means are searched beside the user vector; 0 = none',
      ),
      userShare: z.number().min(0.05).max(1).default(0.5).describe('of the quota, kept for the user vector'),
    })
    .prefault({}),
  following: z
    .strictObject({
      maxAuthors: count(5000, 100_000, 'authors looked at in one request; more are sampled by the seed'),
      perAuthor: z
        .number()
        .int()
        .min(1)
        .max(1000)
        .default(20)
        .describe('newest posts looked at of each author'),
    })
    .prefault({}),
  trending: z
    .strictObject({
      refreshMs: z.number().int().min(100).max(600_000).default(5000).describe('one pass over the window'),
      windowHours: z.number().positive().max(100_000).default(168).describe('posts considered'),
      boardSize: z.number().int().min(1).max(20_000).default(1000).describe('posts kept over all languages'),
      perLanguage: z.number().int().min(1).max(20_000).default(500).describe('posts kept of each language'),
      topicBoost: z.number().min(1).max(100).default(2).describe("factor for posts in the user's own topics"),
    })
    .prefault({}),
  fresh: z
    .strictObject({
      scanRows: count(4000, 200_000, 'newest posts looked at'),
      maxImpressions: count(100, 1_000_000, 'a post with more is no longer fresh'),
      maxAgeHours: z.number().positive().max(100_000).default(72),
      recencyWeight: z.number().min(0).max(10).default(0.3).describe('weight of recency against similarity'),
      halfLifeHours: z.number().positive().max(100_000).default(12).describe('of the recency'),
    })
    .prefault({}),
  similar: z
    .strictObject({
      seeds: count(5, 50, 'last positive engagements whose neighbours are looked up'),
      coEngaged: z
        .number()
        .min(0)
        .max(1)
        .default(0.5)
        .describe('share of each post’s neighbours that come from what the same users engaged with; 0 = off'),
      scanBudgetRows: count(500_000, 100_000_000, 'newest rows scanned for all of them together'),
    })
    .prefault({}),
  nearDuplicates: z
    .strictObject({
      maxDistance: z
        .number()
        .int()
        .min(-1)
        .max(3)
        .default(3)
        .describe('simhash bits by which two texts may differ and count as one; −1 = off'),
      recentPosts: count(100, 1000, 'last served or engaged posts that candidates are compared with'),
    })
    .prefault({}),
  widen: z
    .strictObject({
      below: z
        .number()
        .min(0)
        .max(1)
        .default(0.25)
        .describe('retrieval widens while fewer than this share of the candidates (or than a slate) is left'),
      factor: z.number().min(1).max(20).default(4).describe('quotas of the second try'),
      scanRows: count(
        50_000,
        10_000_000,
        'newest posts walked in the last try; all of them while nothing is left',
      ),
    })
    .prefault({}),
});

export type RetrievalConfig = z.infer<typeof retrievalConfigSchema>;

/** Parses a config object; throws FeedrankError(invalid_input) that names the first bad key. */
export function parseRetrievalConfig(value: unknown = {}): RetrievalConfig {
  const parsed = retrievalConfigSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const fields = parsed.error.issues.map((issue) => ({
    field: ['retrieval', ...issue.path].join('.'),
    reason: issue.message,
  }));
  throw new FeedrankError('invalid_input', `${fields[0].field}: ${fields[0].reason}`, { fields });
}
