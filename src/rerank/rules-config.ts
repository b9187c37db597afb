// The business rules of the re-ranker: schema, defaults and their meaning. Plain JSON, sent to workers as it is.
import { z } from 'zod';
import { FeedrankError } from '../errors.ts';
import { LANGUAGES, SOURCES } from '../vocabulary.ts';

const hours = z.number().min(0).max(1e6);
const shareOf = (value: number, text: string) => z.number().min(0).max(1).default(value).describe(text);
const key = z.string().min(1).max(512);

const capSchema = (perWindow: number, decay: number, floor: number, what: string) =>
  z
    .strictObject({
      window: z.number().int().min(1).max(1000).default(10).describe('consecutive positions looked at'),
      perWindow: z
        .number()
        .int()
        .min(1)
        .max(1000)
        .nullable()
        .default(perWindow)
        .describe(
          `most posts of one ${what} in any window; null = no cap. Gives way only when nothing else is left`,
        ),
      decay: shareOf(
        decay,
        `factor on the score for each further post of the same ${what} within the window`,
      ),
      floor: shareOf(floor, 'the decay never multiplies by less than this'),
    })
    .prefault({});

const conditionSchema = z
  .strictObject({
    topics: z.array(key).min(1).optional(),
    authors: z.array(key).min(1).optional().describe('author ids'),
    sources: z.array(z.enum(SOURCES)).min(1).optional().describe('found by any of these'),
    languages: z
      .array(
        z
          .string()
          .refine(
            (code) => code !== '' && (LANGUAGES as readonly string[]).includes(code),
            'is not a known language',
          ),
      )
      .min(1)
      .optional()
      .describe('ISO 639-1'),
    media: z.boolean().optional(),
    reply: z.boolean().optional(),
    sensitive: z.boolean().optional(),
    followed: z.boolean().optional().describe('by an author the user follows, or not'),
    minAgeHours: hours.optional(),
    maxAgeHours: hours.optional(),
  })
  .describe('all given conditions must hold; none given = every post');

const rulesConfigSchema = z.strictObject({
  boosts: z
    .array(
      z.strictObject({
        name: z.string().min(1).max(64).describe('shown in explanations'),
        when: conditionSchema.prefault({}),
        multiply: z.number().min(0.001).max(1000).describe('factor on the score; below 1 demotes'),
      }),
    )
    .max(200)
    .default([]),
  pins: z
    .array(
      z.strictObject({
        postId: key,
        position: z.number().int().min(0).max(499).describe('0-based'),
        fromMs: z.number().optional().describe('unix ms; pinned from then'),
        untilMs: z.number().optional().describe('unix ms; pinned until then'),
      }),
    )
    .max(50)
    .default([]),
  diversity: z
    .strictObject({
      method: z.enum(['dpp', 'mmr', 'none']).default('dpp'),
      pool: z.number().int().min(1).max(500).default(150).describe('best posts that are re-ordered'),
      depth: z.number().int().min(1).max(500).default(50).describe('positions filled by the method'),
      theta: z
        .number()
        .min(0)
        .max(0.999)
        .default(0.9)
        .describe('1 = score only, 0 = variety only (DPP: θ of Chen et al. 2018; MMR: λ)'),
    })
    .prefault({}),
  authorCap: capSchema(2, 0.7, 0.2, 'author'),
  topicCap: capSchema(5, 0.92, 0.5, 'topic'),
  network: z
    .strictObject({
      minFollowedShare: shareOf(
        0,
        'least share of posts by followed authors, over every beginning of the feed',
      ),
      maxFollowedShare: shareOf(1, 'largest such share; 1 − it is the least out-of-network share'),
      minAuthorDistance: z
        .number()
        .int()
        .min(1)
        .max(100)
        .default(2)
        .describe('positions between two posts of one author; 1 = may be neighbours'),
    })
    .refine((network) => network.minFollowedShare <= network.maxFollowedShare, {
      path: ['minFollowedShare'],
      error: 'is larger than maxFollowedShare',
    })
    .prefault({}),
  freshSlots: z
    .strictObject({
      every: z
        .number()
        .int()
        .min(2)
        .max(1000)
        .nullable()
        .default(10)
        .describe('one slot in so many positions; null = none'),
      offset: z.number().int().min(0).max(999).default(6).describe('position of the first slot, 0-based'),
      maxImpressions: z.number().min(0).max(1e6).default(50).describe('a post with more has been explored'),
      maxAgeHours: hours.default(72),
      pool: z
        .number()
        .int()
        .min(1)
        .max(200)
        .default(20)
        .describe('best fresh posts that a slot chooses from'),
      choice: z
        .enum(['uniform', 'ucb'])
        .default('uniform')
        .describe('at random, or by upper confidence bound of the click rate'),
      ucbWeight: z.number().min(0).max(100).default(1),
    })
    .prefault({}),
  exploration: z
    .strictObject({
      temperature: z
        .number()
        .min(0.001)
        .max(100)
        .default(0.5)
        .describe("in standard deviations of the pool's scores; larger = more random"),
      pool: z.number().int().min(1).max(1000).default(150).describe('best posts that are sampled from'),
      depth: z
        .number()
        .int()
        .min(1)
        .max(1000)
        .default(50)
        .describe('positions that are sampled; the rest keeps its order'),
    })
    .prefault({}),
});

export type RulesConfig = z.infer<typeof rulesConfigSchema>;
export type CapConfig = RulesConfig['authorCap'];
export type BoostCondition = RulesConfig['boosts'][number]['when'];

/** Parses a rules object; throws FeedrankError(invalid_input) that names the path of every bad key. */
export function parseRules(value: unknown): RulesConfig {
  const parsed = rulesConfigSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const fields = parsed.error.issues.map((issue) => ({
    field: ['rules', ...issue.path].join('.'),
    reason: issue.message,
  }));
  const text = fields.map(({ field, reason }) => `${field}: ${reason}`).join('; ');
  throw new FeedrankError('invalid_input', text, { fields });
}

export const DEFAULT_RULES: RulesConfig = parseRules({});
