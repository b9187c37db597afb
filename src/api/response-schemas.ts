// What answers carry: the source of the OpenAPI document and of the handlers' types. Answers are checked against
// these in the tests, not on the hot path: it would cost .15 ms of the .5 that a page of 20 takes here.
import { z } from 'zod';
import { HEADS, REMOVAL_REASONS, SOURCES } from '../vocabulary.ts';
import { ERROR_CATALOGUE } from './error-catalogue.ts';
import { PROBLEM_TYPE } from './errors.ts';

const requestId = z.string().describe('Also in the header x-request-id.');
const unixMs = z.number().int().describe('Unix milliseconds.');
const sourceSchema = z.enum(SOURCES);

export const problemSchema = z.strictObject({
  type: z.string(),
  title: z.string(),
  status: z.number().int(),
  code: z.enum(Object.keys(ERROR_CATALOGUE) as [string, ...string[]]),
  detail: z.string(),
  requestId,
  fields: z.array(z.strictObject({ field: z.string(), reason: z.string() })),
});

/** For `response.default` of every route. */
export const problemResponse = {
  description: 'A problem (RFC 9457) with a stable code.',
  content: { [PROBLEM_TYPE.split(';')[0]]: { schema: problemSchema } },
};

export const postContentSchema = z.strictObject({
  authorId: z.string(),
  title: z.string().optional(),
  text: z.string().optional(),
  topic: z.string().optional(),
  createdAt: unixMs,
  language: z.string().optional(),
  url: z.string().optional(),
  mediaType: z.enum(['none', 'image', 'video', 'link']).optional(),
  replyTo: z.string().optional(),
  sensitive: z.boolean().optional(),
  extra: z.record(z.string(), z.unknown()).optional(),
});
export type PostContent = z.infer<typeof postContentSchema>;

const rulesMoved = z.array(z.strictObject({ rule: z.string(), effect: z.string() }));

const explanationSchema = z.strictObject({
  sources: z.array(z.strictObject({ source: sourceSchema, rank: z.number().int() })),
  heads: z
    .array(
      z.strictObject({
        head: z.enum(HEADS),
        probability: z.number(),
        weight: z.number(),
        contribution: z.number(),
      }),
    )
    .describe('Probability × weight of every head; empty when a fallback ranked.'),
  rules: rulesMoved.describe('Every rule that moved the post, and what it did.'),
  rankedPosition: z.number().int().describe('0-based position before re-ranking.'),
  rankedBy: z
    .string()
    .nullable()
    .optional()
    .describe('Model of these probabilities: the light one where pre-ranking left the post to it.'),
});

export const feedPostSchema = z.strictObject({
  id: z.string(),
  token: z.string().describe('Tracking token: send it with the events on this post.'),
  position: z.number().int().describe('0-based position in the feed, counted over its pages.'),
  score: z.number(),
  sources: z.array(sourceSchema),
  why: z.string(),
  post: postContentSchema.nullable().describe('null while the post store does not answer.'),
  explain: explanationSchema.optional(),
});

export const feedResponse = z.strictObject({
  requestId,
  userId: z.string(),
  generatedAt: unixMs,
  posts: z.array(feedPostSchema),
  nextCursor: z.string().nullable(),
  end: z.boolean().describe('True when nothing eligible is left.'),
  model: z.string(),
  index: z.string().describe('Version of the index generation.'),
  rules: z.string(),
  search: z.string().describe('How the nearest posts were searched.'),
  degraded: z.array(z.string()).describe('What was skipped or replaced; empty = full quality.'),
  stageMs: z.record(z.string(), z.number()).optional(),
  counts: z
    .strictObject({
      retrieved: z.number(),
      kept: z.number(),
      ranked: z.number(),
      preRanked: z.number().optional().describe('Of these, how many the main model saw after pre-ranking.'),
    })
    .optional()
    .describe('Candidates by stage, of the slate that this page began.'),
  dropped: z.array(z.strictObject({ postId: z.string(), reason: z.enum(REMOVAL_REASONS) })).optional(),
});
export type FeedResponse = z.infer<typeof feedResponse>;

export const newPostsResponse = z.strictObject({
  requestId,
  userId: z.string(),
  since: unixMs,
  checkedAt: unixMs,
  count: z.number().int().describe('Posts that wait, as far as they were counted.'),
  following: z.number().int().describe('Those of them whose author the user follows.'),
  more: z.boolean().describe('True when there may be more than `count`.'),
  degraded: z
    .array(z.string())
    .describe('`user_state_unavailable`: counted without blocks, mutes and seen posts.'),
});

export const itemResultSchema = z.strictObject({
  index: z.number().int().describe('Position in the request.'),
  id: z.string().nullable(),
  status: z.enum(['stored', 'duplicate', 'rejected']),
  reason: z.string().optional(),
  field: z.string().optional(),
});
export type ItemResult = z.infer<typeof itemResultSchema>;

export const batchResponse = z.strictObject({
  requestId,
  stored: z.number().int(),
  duplicates: z.number().int(),
  rejected: z.number().int(),
  results: z.array(itemResultSchema),
  degraded: z.array(z.string()),
});
export type BatchResponse = z.infer<typeof batchResponse>;

const profileSchema = z.strictObject({
  id: z.string(),
  createdAt: unixMs,
  languages: z.array(z.string()).optional(),
  country: z.string().optional(),
  topics: z.array(z.string()).optional(),
  showSensitive: z.boolean().optional(),
});

export const profileResponse = z.strictObject({ requestId, user: profileSchema });

export const userResponse = z.strictObject({
  requestId,
  user: profileSchema.nullable().describe('null when only edges are known.'),
  follows: z.array(z.string()),
  blocks: z.array(z.string()),
  mutes: z.strictObject({
    authors: z.array(z.string()),
    words: z.array(z.string()),
    topics: z.array(z.string()),
  }),
});

export const erasureResponse = z.strictObject({
  requestId,
  userId: z.string(),
  erased: z.boolean().describe('False when nothing was stored of this user.'),
});

export const edgeResponse = z.strictObject({
  requestId,
  userId: z.string(),
  kind: z.enum(['follow', 'block', 'mute_author', 'mute_word', 'mute_topic']),
  target: z.string(),
  on: z.boolean(),
});

export const postResponse = z.strictObject({ requestId, id: z.string(), post: postContentSchema });
export const deletionResponse = z.strictObject({ requestId, id: z.string(), deleted: z.boolean() });

export const similarResponse = z.strictObject({
  requestId,
  id: z.string(),
  index: z.string(),
  posts: z.array(
    z.strictObject({
      id: z.string(),
      similarity: z.number().describe('Cosine similarity.'),
      post: postContentSchema,
    }),
  ),
});

export const liveResponse = z.strictObject({ status: z.literal('ok') });

export const readyResponse = z.strictObject({
  ready: z.boolean(),
  reasons: z.array(z.string()),
  degraded: z.array(z.string()),
  index: z.strictObject({ kind: z.string(), generation: z.string(), posts: z.number() }),
  models: z.record(z.string(), z.string()),
  stores: z.record(z.string(), z.string()),
});
