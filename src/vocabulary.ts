// The closed lists that every stage shares, with their numeric codes: codes are written to disk and into models'
// manifests, so an entry is only ever appended.

/** Dimension of every post and user vector. */
export const DIM = 64;

/** Engagements kept with a user's online state. */
export const HISTORY_LIMIT = 50;
/** Seen posts kept with a user's online state, and how long they stay. */
export const SEEN_LIMIT = 1000;
export const SEEN_TTL_MS = 14 * 24 * 3_600_000;

/** `createdAt` of a user of whom no profile is stored: the age of the account then counts as 0 days, everywhere. */
export const UNDATED = 0;

/** What a user did with a post. Codes are positions in this list. */
export const EVENT_TYPES = [
  'impression',
  'click',
  'like',
  'reply',
  'share',
  'dwell',
  'hide',
  'not_interested',
  'report',
  'unlike',
] as const;
export type EventType = (typeof EVENT_TYPES)[number];

/** A dwell of at least this long counts as a long dwell: the `dwell` head's positive label. */
export const LONG_DWELL_MS = 10_000;

/** Engagement kinds as the user tower sees them (`types` input). 0 means an absent entry. */
export const ENGAGEMENT_CODES = {
  none: 0,
  click: 1,
  like: 2,
  reply: 3,
  share: 4,
  longDwell: 5,
  negative: 6,
} as const;

/** Outputs of the multi-task ranker, in the order of its `probabilities` columns. */
export const HEADS = ['click', 'like', 'reply', 'share', 'dwell', 'negative'] as const;
export type Head = (typeof HEADS)[number];

/** Candidate sources; bit `1 << position` in `CandidateSet.sources`. */
export const SOURCES = ['nearest', 'following', 'trending', 'fresh', 'similar'] as const;
export type Source = (typeof SOURCES)[number];

/** Why a filter removed a candidate. Codes are positions in this list. */
export const REMOVAL_REASONS = [
  'deleted',
  'seen',
  'excluded',
  'own_post',
  'blocked_author',
  'muted_author',
  'muted_word',
  'muted_topic',
  'too_old',
  'language',
  'sensitive',
  'near_duplicate',
  'from_future',
] as const;
export type RemovalReason = (typeof REMOVAL_REASONS)[number];

/** ISO 639-1 codes by position; 0 is unknown. A post record stores the position in one byte. */
export const LANGUAGES = [
  '',
  ...(
    'en es pt fr de it nl da sv no fi pl cs sk hu ro bg el tr ru uk sr hr sl lt lv et ar he fa ur hi bn ta te ml ' +
    'kn mr gu pa th vi id ms tl zh ja ko ka hy az kk uz mn my km lo ne si am sw so af sq mk is ga cy eu ca gl mt eo la'
  ).split(' '),
] as const;

/** Position of an ISO 639-1 code (`en`, `en-GB`), 0 when unknown. */
export function languageCode(language: string | null | undefined): number {
  if (!language) return 0;
  const index = (LANGUAGES as readonly string[]).indexOf(language.slice(0, 2).toLowerCase());
  return Math.max(index, 0);
}

/** ENGAGEMENT_CODES of an event, 0 for impressions, short dwells and un-likes. */
export function engagementCode(type: EventType, dwellMs: number): number {
  switch (type) {
    case 'click':
      return ENGAGEMENT_CODES.click;
    case 'like':
      return ENGAGEMENT_CODES.like;
    case 'reply':
      return ENGAGEMENT_CODES.reply;
    case 'share':
      return ENGAGEMENT_CODES.share;
    case 'dwell':
      return dwellMs >= LONG_DWELL_MS ? ENGAGEMENT_CODES.longDwell : ENGAGEMENT_CODES.none;
    case 'hide':
    case 'not_interested':
    case 'report':
      return ENGAGEMENT_CODES.negative;
    default:
      return ENGAGEMENT_CODES.none;
  }
}
