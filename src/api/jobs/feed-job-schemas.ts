// What requests and answers of /feed-jobs carry.
import { z } from 'zod';
import { DOMAIN_LIMITS, idSchema } from '../../features/domain-schema.ts';
import { limitSchema } from '../request-schemas.ts';
import { feedPostSchema, postContentSchema } from '../response-schemas.ts';

const MAX_USERS = 10_000;
const MAX_POSTS = 50;
const DEFAULT_POSTS = 20;
/** Users on a page of results: with all their posts at most some 2 MB. */
const RESULTS = { usual: 20, most: 50 };

const requestId = z.string().describe('Also in the header x-request-id.');
const jobId = z.string();
const unixMs = z.number().describe('Unix milliseconds.');
const usersMessage = `must be a list of 1 to ${MAX_USERS} user ids`;

export const feedJobBody = z.strictObject({
  userIds: z
    .array(idSchema, { error: usersMessage })
    .min(1, usersMessage)
    .max(MAX_USERS, usersMessage)
    .describe('Repeated ones count once.'),
  limit: z.number().int().min(1).max(MAX_POSTS).default(DEFAULT_POSTS).describe('Posts for each user.'),
  webhook: z
    .strictObject({
      url: z
        .string()
        .min(1)
        .max(DOMAIN_LIMITS.urlBytes)
        .describe('Told once the job has ended; https, to a host of WEBHOOK_HOSTS.'),
    })
    .optional(),
});

export const feedJobResultsQuery = z.strictObject({
  limit: limitSchema(RESULTS.usual, RESULTS.most),
  cursor: z
    .string()
    .regex(/^\d{1,5}$/, 'must be the nextCursor of another page')
    .optional()
    .describe('`nextCursor` of the page before.'),
});

export const feedJobCreated = z.strictObject({
  requestId,
  jobId,
  users: z.number().int().describe('Distinct users.'),
  statusUrl: z.string(),
});

export const feedJobStatus = z.strictObject({
  requestId,
  jobId,
  status: z
    .enum(['queued', 'running', 'done', 'failed', 'cancelled'])
    .describe('`failed`: for every user, none succeeded.'),
  users: z.number().int(),
  limit: z.number().int(),
  counts: z
    .strictObject({
      waiting: z.number().int(),
      done: z.number().int(),
      failed: z.number().int(),
      erased: z.number().int(),
    })
    .describe('Users by what became of them; `erased`: the user was, and the result with them.'),
  createdAt: unixMs,
  finishedAt: unixMs.nullable(),
  expiresAt: unixMs.describe('Until when it may take; once it has ended, until when it is kept.'),
  resultsUrl: z.string(),
  delivery: z
    .strictObject({
      state: z
        .enum(['waiting', 'pending', 'delivered', 'dead'])
        .describe('`waiting` for the job to end; `pending`: is tried; `dead`: given up.'),
      attempts: z.number().int(),
      nextAt: unixMs.nullable(),
      error: z.string().nullable().describe('Why the newest try failed.'),
    })
    .nullable()
    .describe('Of the webhook; null when there is none.'),
});

const resultPost = feedPostSchema.omit({ explain: true, post: true }).extend({ post: postContentSchema });

export const feedJobResults = z.strictObject({
  requestId,
  jobId,
  results: z.array(
    z.strictObject({
      userId: z.string(),
      status: z.enum(['waiting', 'done', 'failed']),
      servingId: z.string().nullable().describe('The request id that the tokens of these posts name.'),
      generatedAt: unixMs.nullable(),
      model: z.string().nullable(),
      degraded: z
        .array(z.string())
        .describe('`user_edges_unavailable`: blocks and mutes are those of the computing.'),
      posts: z.array(resultPost).describe('Without those that were deleted, blocked or muted since.'),
    }),
  ),
  nextCursor: z.string().nullable(),
});
export type FeedJobResults = z.infer<typeof feedJobResults>;

export const feedJobRemoved = z.strictObject({
  requestId,
  jobId,
  status: z
    .enum(['cancelled', 'deleted'])
    .describe('`cancelled`: it had not ended, and stays by that name, without users and results.'),
});
