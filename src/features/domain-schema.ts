// Validation of posts, users, edges and events as they come from outside (importers, API). What passes is a domain
// value that every store can hold: no NUL, no lone surrogates, finite times. Called by scripts/import and api/.
import { z } from 'zod';
import type { Edge, EdgeKind, EngagementEvent, Post, User } from '../contracts.ts';
import type { FieldProblem } from '../errors.ts';
import { hash64 } from '../hashing.ts';
import { EVENT_TYPES } from '../vocabulary.ts';

/** Limits in UTF-8 bytes unless the name says otherwise. */
export const DOMAIN_LIMITS = {
  idBytes: 256,
  titleBytes: 1_024,
  textBytes: 65_536,
  topicBytes: 128,
  urlBytes: 2_048,
  wordBytes: 64,
  tokenBytes: 512,
  extraBytes: 4_096,
  languages: 16,
  topics: 64,
  position: 1_000_000,
  dwellMs: 24 * 3_600_000,
  /** First millisecond of the year 2100. */
  timeEndMs: 4_102_444_800_000,
} as const;

/** A string of `min`..`max` UTF-8 bytes that Postgres and Redis can both hold. */
function storable(min: number, max: number) {
  return z.string().check((context) => {
    const problem = storableProblem(context.value, min, max);
    if (problem) context.issues.push({ code: 'custom', message: problem, input: context.value });
  });
}

function storableProblem(value: string, min: number, max: number): string | null {
  if (value.length < min) return 'must not be empty';
  // A UTF-16 unit is at most three bytes, so short strings need no count.
  if (value.length * 3 > max && Buffer.byteLength(value, 'utf8') > max) return `must be at most ${max} bytes`;
  if (value.includes('\0')) return 'must not contain a NUL character';
  if (!value.isWellFormed()) return 'must be well-formed Unicode (it has a lone surrogate)';
  return null;
}

const TIME_RANGE = 'must be between the years 1970 and 2100 (unix milliseconds or ISO-8601 with a time zone)';
const ISO_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)$/;

/** Unix milliseconds or ISO-8601 with a zone → whole unix milliseconds. */
export const timeSchema = z
  .union([z.number(), z.string().max(40)], { error: TIME_RANGE })
  .transform((value, context) => {
    const ms = typeof value === 'number' ? Math.floor(value) : ISO_TIME.test(value) ? Date.parse(value) : NaN;
    if (ms >= 0 && ms < DOMAIN_LIMITS.timeEndMs) return ms;
    context.issues.push({ code: 'custom', message: TIME_RANGE, input: value });
    return z.NEVER;
  });

export const idSchema = storable(1, DOMAIN_LIMITS.idBytes);
export const topicSchema = storable(1, DOMAIN_LIMITS.topicBytes);
export const languageSchema = z
  .string()
  .regex(/^[A-Za-z]{2}([-_][A-Za-z0-9]{2,8})*$/, 'must be an ISO 639-1 code such as "en" or "pt-BR"')
  .max(32);

const extraSchema = z.record(z.string(), z.unknown()).check((context) => {
  const problem = extraProblem(context.value);
  if (problem) context.issues.push({ code: 'custom', message: problem, input: context.value });
});

function extraProblem(value: Record<string, unknown>): string | null {
  let json: string;
  try {
    json = JSON.stringify(value);
  } catch {
    return 'must be plain JSON';
  }
  if (Buffer.byteLength(json, 'utf8') > DOMAIN_LIMITS.extraBytes) {
    return `must be at most ${DOMAIN_LIMITS.extraBytes} bytes of JSON`;
  }
  // An odd number of backslashes before u0000 (NUL) or ud800–udfff (what JSON.stringify makes of a lone surrogate).
  if (/(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/.test(json)) return 'must not contain NUL or lone surrogates';
  return null;
}

export const postSchema = z.strictObject({
  id: idSchema,
  authorId: idSchema,
  createdAt: timeSchema,
  title: storable(0, DOMAIN_LIMITS.titleBytes).optional(),
  text: storable(0, DOMAIN_LIMITS.textBytes).optional(),
  topic: topicSchema.optional(),
  language: languageSchema.optional(),
  url: storable(1, DOMAIN_LIMITS.urlBytes)
    .regex(/^https?:\/\//i, 'must start with http:// or https://')
    .optional(),
  mediaType: z.enum(['none', 'image', 'video', 'link']).optional(),
  replyTo: idSchema.optional(),
  sensitive: z.boolean().optional(),
  extra: extraSchema.optional(),
}) satisfies z.ZodType<Post, unknown>;

const EDGE_KINDS = [
  'follow',
  'block',
  'mute_author',
  'mute_word',
  'mute_topic',
] as const satisfies EdgeKind[];

/** What is wrong with an edge's target, or null. A muted word must be one word: words are matched one by one. */
function targetProblem(kind: EdgeKind, target: string): string | null {
  if (kind === 'mute_word') {
    if (/\s/u.test(target)) return 'must be one word, without spaces';
    return storableProblem(target, 1, DOMAIN_LIMITS.wordBytes);
  }
  return kind === 'mute_topic' ? storableProblem(target, 1, DOMAIN_LIMITS.topicBytes) : null;
}

function edgeFields(kind: z.ZodType<EdgeKind>, absentTime: () => number) {
  return z
    .strictObject({ userId: idSchema, kind, target: idSchema, createdAt: timeSchema.optional() })
    .check((context) => {
      const message = targetProblem(context.value.kind, context.value.target);
      if (message)
        context.issues.push({ code: 'custom', message, path: ['target'], input: context.value.target });
    })
    .transform(
      ({ userId, kind, target, createdAt }): Edge => ({
        userId,
        kind,
        target: kind === 'mute_word' ? target.toLowerCase() : target,
        createdAt: createdAt ?? absentTime(),
      }),
    );
}

/**
 * Schemas of users and edges, whose `createdAt` may be absent. `absentTime` is what it then becomes: the API takes
 * the clock, an import takes 0 ("long ago") so that reading the same file again changes nothing.
 */
export function datedSchemas(absentTime: () => number) {
  return {
    user: z
      .strictObject({
        id: idSchema,
        createdAt: timeSchema.optional(),
        languages: z.array(languageSchema).max(DOMAIN_LIMITS.languages).optional(),
        country: z
          .string()
          .regex(/^[A-Za-z]{2}$/, 'must be an ISO 3166-1 alpha-2 code such as "PT"')
          .optional(),
        topics: z.array(topicSchema).max(DOMAIN_LIMITS.topics).optional(),
        showSensitive: z.boolean().optional(),
      })
      .transform((user): User => ({ ...user, createdAt: user.createdAt ?? absentTime() })),
    /** Any edge: {userId, kind, target, createdAt?}. */
    edge: edgeFields(z.enum(EDGE_KINDS), absentTime),
    /** A line of follows.jsonl. */
    follow: z
      .strictObject({ userId: idSchema, authorId: idSchema, createdAt: timeSchema.optional() })
      .transform(
        ({ userId, authorId, createdAt }): Edge => ({
          userId,
          kind: 'follow',
          target: authorId,
          createdAt: createdAt ?? absentTime(),
        }),
      ),
    /** A line of blocks.jsonl: every kind but `follow`. */
    block: edgeFields(z.enum(EDGE_KINDS).exclude(['follow']), absentTime),
  };
}

const dated = datedSchemas(Date.now);
/** An absent `createdAt` is the time of the call. */
export const userSchema = dated.user;
/** An absent `createdAt` is the time of the call. */
export const edgeSchema = dated.edge;

export const eventSchema = z
  .strictObject({
    id: idSchema.optional(),
    userId: idSchema,
    postId: idSchema,
    type: z.enum(EVENT_TYPES),
    at: timeSchema,
    dwellMs: z.number().min(0).max(DOMAIN_LIMITS.dwellMs).transform(Math.round).optional(),
    token: storable(1, DOMAIN_LIMITS.tokenBytes).optional(),
    position: z.int().min(0).max(DOMAIN_LIMITS.position).optional(),
  })
  .check((context) => {
    const { type, dwellMs } = context.value;
    if (type === 'dwell' && dwellMs === undefined) {
      const message = 'is required for an event of type "dwell"';
      context.issues.push({ code: 'custom', message, path: ['dwellMs'], input: dwellMs });
    }
  })
  .transform(
    (event): EngagementEvent => ({
      ...event,
      id: event.id ?? deriveEventId(event.userId, event.postId, event.type, event.at),
    }),
  );

/** The id of an event that came without one: the same four fields give the same id, so a repeat is recognised. */
export function deriveEventId(userId: string, postId: string, type: string, at: number): string {
  const { lo, hi } = hash64(`${userId}\0${postId}\0${type}\0${at}`);
  return `d${hi.toString(16).padStart(8, '0')}${lo.toString(16).padStart(8, '0')}`;
}

/** Zod issues as field problems: `extra` → the unknown key's own name, a path as `topics[3]`. */
export function fieldProblems(error: z.ZodError, prefix = ''): FieldProblem[] {
  return error.issues.flatMap((issue) => {
    const path = issue.path.reduce<string>(
      (joined, part) =>
        typeof part === 'number' ? `${joined}[${part}]` : joined ? `${joined}.${String(part)}` : String(part),
      prefix,
    );
    if (issue.code !== 'unrecognized_keys') return [{ field: path || '(row)', reason: issue.message }];
    return issue.keys.map((key) => ({
      field: (path ? `${path}.${key}` : key).slice(0, 128),
      reason: 'is not a known field',
    }));
  });
}
