// What requests may carry. Unknown parameters and fields are refused everywhere.
import { z } from 'zod';
import { PRIORITIES } from '../admission.ts';
import {
  DOMAIN_LIMITS,
  eventSchema,
  idSchema,
  postSchema,
  topicSchema,
  userSchema,
} from '../features/domain-schema.ts';

/** Posts that one request may exclude. */
const MAX_EXCLUDED = 200;
const CURSOR_CHARACTERS = 8192;

export const userParams = z.strictObject({ userId: idSchema });
export const idParams = z.strictObject({ id: idSchema });
export const userIdParams = z.strictObject({ id: idSchema.describe('User id.') });

export function limitSchema(defaultLimit: number, maxLimit: number) {
  const message = `must be a whole number from 1 to ${maxLimit}`;
  return z.coerce
    .number({ error: message })
    .int(message)
    .min(1, message)
    .max(maxLimit, message)
    .default(defaultLimit);
}

/** Repeated or comma-separated; an id that has a comma itself is also taken as a whole. */
const excludeSchema = z
  .union([z.string(), z.array(z.string())])
  .transform((value, context) => {
    const given = (Array.isArray(value) ? value : [value]).filter((id) => id !== '');
    const ids = [...new Set(given.flatMap((id) => (id.includes(',') ? [id, ...id.split(',')] : [id])))];
    if (ids.length > MAX_EXCLUDED || ids.some((id) => !idSchema.safeParse(id).success)) {
      const message = `must be at most ${MAX_EXCLUDED} post ids`;
      context.issues.push({ code: 'custom', message, input: value });
      return z.NEVER;
    }
    return ids;
  })
  .describe('Post ids that must not appear; comma-separated or repeated.');

export function feedQuery(defaultLimit: number, maxLimit: number) {
  return z.strictObject({
    limit: limitSchema(defaultLimit, maxLimit),
    cursor: z.string().min(1).max(CURSOR_CHARACTERS).optional().describe('`nextCursor` of the page before.'),
    exclude: excludeSchema.optional(),
    explain: z
      .enum(['0', '1', 'all'])
      .default('0')
      .describe('`1`: sources, heads and rules of each post; `all`: also what was dropped and why.'),
    priority: z
      .enum(PRIORITIES)
      .optional()
      .describe(
        'When there is too much work, `background` requests are refused first, then `prefetch`; default `interactive`. ' +
          'Also as header `x-feedrank-priority`; `sec-purpose: prefetch` counts as `prefetch`.',
      ),
  });
}

export const newPostsQuery = z.strictObject({
  since: z.coerce
    .number({ error: 'must be unix milliseconds' })
    .int('must be unix milliseconds')
    .min(1, 'must be unix milliseconds')
    .max(DOMAIN_LIMITS.timeEndMs, 'must be unix milliseconds')
    .describe('`generatedAt` of the page that the user reads: posts made later are counted.'),
});

export function postsBody(maxBatch: number) {
  return z.strictObject({ posts: z.array(postSchema).min(1).max(maxBatch) });
}

export function eventsBody(maxBatch: number) {
  return z.strictObject({ events: z.array(eventSchema).min(1).max(maxBatch) });
}

/** The same bodies with their items unread: each item gets a result of its own. */
export function envelope(key: 'posts' | 'events', maxBatch: number) {
  const message = `must be a list of 1 to ${maxBatch} items`;
  return z.strictObject({
    [key]: z.array(z.unknown(), { error: message }).min(1, message).max(maxBatch, message),
  });
}

export const idempotencyHeaders = z.object({
  'idempotency-key': z
    .string()
    .regex(/^[\x21-\x7e]{1,200}$/, 'must be 1 to 200 visible ASCII characters')
    .optional()
    .describe('The same key with the same body gives the first answer again, for 24 hours.'),
});

/** A profile; the id is in the path. */
export const profileBody = userSchema.in.omit({ id: true });

export const authorParams = z.strictObject({ id: idSchema, authorId: idSchema });
export const topicParams = z.strictObject({ id: idSchema, topic: topicSchema });
export const wordParams = z.strictObject({
  id: idSchema,
  word: idSchema
    .refine(
      (word) => Buffer.byteLength(word) <= DOMAIN_LIMITS.wordBytes,
      `must be at most ${DOMAIN_LIMITS.wordBytes} bytes`,
    )
    .refine((word) => !/\s/u.test(word), 'must be one word, without spaces'),
});
