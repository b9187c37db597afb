// Titles and bodies of generated posts from the patterns and the lexicon; a post's words tell its sub-topics, which is
// what an embedding can learn. Called by world.ts.
import { LEXICON } from './lexicon.ts';
import type { Rng } from './rng.ts';
import { PATTERNS } from './words/templates.ts';

/** Posts with a body besides the title; most posts of a real feed are one line. */
const BODY_SHARE = 0.4;
/** Of the posts with two sub-topics, how many say so in the title. */
const MIXED_TITLE_SHARE = 0.6;

export function writePost(
  rng: Rng,
  language: string,
  subTopic: number,
  second: number,
): { title: string; text?: string } {
  const patterns = PATTERNS[language];
  const main = LEXICON.subTopics[subTopic];
  const terms = main.terms[language] ?? main.terms.en;
  const a = rng.pick(terms);
  let b = rng.pick(terms);
  if (b === a) b = terms[(terms.indexOf(a) + 1) % terms.length];
  const other = second < 0 ? undefined : LEXICON.subTopics[second];
  const otherTerms = other
    ? (other.terms[language] ?? (language === 'en' ? other.terms.en : undefined))
    : undefined;
  const words: Record<string, string> = {
    a,
    b,
    c: otherTerms ? rng.pick(otherTerms) : b,
    t: main.name.replaceAll('-', ' '),
    g: rng.pick(LEXICON.topics[main.topic].angles),
    j: rng.pick(patterns.adjectives),
    n: String(2 + rng.below(28)),
    A: a[0].toUpperCase() + a.slice(1),
  };
  const mixed = otherTerms !== undefined && rng.chance(MIXED_TITLE_SHARE);
  const title = capital(fill(rng.pick(mixed ? patterns.mixed : patterns.titles), words));
  if (!rng.chance(BODY_SHARE)) return { title };
  const sentences = 1 + rng.below(3);
  const start = rng.below(patterns.bodies.length);
  const body: string[] = [];
  for (let i = 0; i < sentences; i++) {
    body.push(fill(patterns.bodies[(start + i) % patterns.bodies.length], words));
  }
  if (otherTerms && !mixed) body.push(fill(rng.pick(patterns.mixed), words));
  return { title, text: body.map(capital).join(' ') };
}

function fill(pattern: string, words: Record<string, string>): string {
  return pattern.replace(/\{(\w)\}/g, (_, name: string) => words[name]);
}

function capital(sentence: string): string {
  return sentence[0].toUpperCase() + sentence.slice(1);
}
