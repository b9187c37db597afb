// Boosts and demotions: factors on the utility of the posts that fit a condition.

import { hash32, hash64 } from '../hashing.ts';
import { createdAtMs, FIELD, FLAG, RECORD_WORDS } from '../post-record.ts';
import { languageCode, SOURCES } from '../vocabulary.ts';
import { addEffect, byUtility, type Draft } from './draft.ts';
import type { BoostCondition, RulesConfig } from './rules-config.ts';

type Test = (draft: Draft, item: number) => boolean;

/** Conditions hash their keys once for each config object, not for each request. */
const COMPILED = new WeakMap<BoostCondition, Test[]>();

/** Multiplies utilities and sorts by them. */
export function applyBoosts(draft: Draft, boosts: RulesConfig['boosts']): void {
  if (boosts.length === 0) return;
  for (const boost of boosts) {
    const tests = testsOf(boost.when);
    for (let item = 0; item < draft.size; item++) {
      if (!tests.every((test) => test(draft, item))) continue;
      draft.utility[item] *= boost.multiply;
      if (draft.explained) addEffect(draft, item, 'boosts', `${boost.name} ×${boost.multiply}`);
    }
  }
  draft.order = byUtility(draft.utility);
}

function testsOf(when: BoostCondition): Test[] {
  let tests = COMPILED.get(when);
  if (!tests) {
    tests = compile(when);
    COMPILED.set(when, tests);
  }
  return tests;
}

function compile(when: BoostCondition): Test[] {
  const tests: Test[] = [];
  if (when.topics) {
    const topics = new Set(when.topics.map(hash32));
    tests.push((draft, item) => topics.has(word(draft, item, FIELD.topic)));
  }
  if (when.authors) {
    const authors = new Set(when.authors.map((id) => pairKey(hash64(id).lo, hash64(id).hi)));
    tests.push((draft, item) =>
      authors.has(pairKey(word(draft, item, FIELD.authorLo), word(draft, item, FIELD.authorHi))),
    );
  }
  if (when.sources) {
    const mask = when.sources.reduce((bits, source) => bits | (1 << SOURCES.indexOf(source)), 0);
    tests.push((draft, item) => (draft.sources[item] & mask) !== 0);
  }
  if (when.languages) {
    const languages = new Set(when.languages.map(languageCode));
    tests.push((draft, item) => languages.has((word(draft, item, FIELD.flags) >>> 8) & 0xff));
  }
  const flags = { media: FLAG.media, reply: FLAG.reply, sensitive: FLAG.sensitive } as const;
  for (const [name, bit] of Object.entries(flags)) {
    const expected = when[name as keyof typeof flags];
    if (expected !== undefined) {
      tests.push((draft, item) => ((word(draft, item, FIELD.flags) & bit) !== 0) === expected);
    }
  }
  const { followed, minAgeHours, maxAgeHours } = when;
  if (followed !== undefined) tests.push((draft, item) => (draft.followed[item] === 1) === followed);
  if (minAgeHours !== undefined) tests.push((draft, item) => ageHours(draft, item) >= minAgeHours);
  if (maxAgeHours !== undefined) tests.push((draft, item) => ageHours(draft, item) <= maxAgeHours);
  return tests;
}

function word(draft: Draft, item: number, field: number): number {
  return draft.catalogue.records.u32[draft.rows[item] * RECORD_WORDS + field];
}

function ageHours(draft: Draft, item: number): number {
  return (draft.query.nowMs - createdAtMs(draft.catalogue.records, draft.rows[item])) / 3_600_000;
}

function pairKey(lo: number, hi: number): string {
  return `${hi}:${lo}`;
}
