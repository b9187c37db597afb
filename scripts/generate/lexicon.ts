// The generated world's topics and words, parsed once from words/*.ts. Sub-topics are numbered in the order of en.ts.
// Called by topic-space.ts and post-text.ts.
import { ENGLISH } from './words/en.ts';
import { FRENCH, GERMAN, PORTUGUESE, SPANISH } from './words/other-languages.ts';

export interface SubTopic {
  name: string;
  topic: number;
  /** The topic it leans towards besides its own. */
  related: number;
  /** Terms by language; `en` is always there. */
  terms: Record<string, string[]>;
}

export interface Lexicon {
  topics: { name: string; angles: string[] }[];
  subTopics: SubTopic[];
}

const OTHER_LANGUAGES = { es: SPANISH, pt: PORTUGUESE, fr: FRENCH, de: GERMAN };
export const WORLD_LANGUAGES = ['en', 'es', 'pt', 'fr', 'de'] as const;

const list = (text: string): string[] => text.split(',').map((term) => term.trim());

function parseLexicon(): Lexicon {
  const topics: Lexicon['topics'] = [];
  const parsed: { name: string; topic: number; relatedName: string; terms: string[] }[] = [];
  for (const line of ENGLISH.split('\n').filter((text) => text.trim())) {
    if (line.startsWith('#')) {
      const [name, ...angles] = line.slice(1).split('|');
      topics.push({ name: name.trim(), angles: angles.map((angle) => angle.trim()) });
      continue;
    }
    const colon = line.indexOf(' : ');
    const [name, relatedName] = line.slice(0, colon).split('~');
    parsed.push({
      name: name.trim(),
      topic: topics.length - 1,
      relatedName: relatedName.trim(),
      terms: list(line.slice(colon + 3)),
    });
  }
  const subTopics = parsed.map(({ name, topic, relatedName, terms }): SubTopic => {
    const related = topics.findIndex((candidate) => candidate.name === relatedName);
    if (related < 0) throw new Error(`words/en.ts: ${name} leans towards the unknown topic ${relatedName}`);
    return { name, topic, related, terms: { en: terms } };
  });
  for (const [language, text] of Object.entries(OTHER_LANGUAGES)) {
    for (const line of text.split('\n').filter((row) => row.trim())) {
      const colon = line.indexOf(' : ');
      const name = line.slice(0, colon);
      const subTopic = subTopics.find((candidate) => candidate.name === name);
      if (!subTopic) throw new Error(`words/other-languages.ts: unknown sub-topic ${name} (${language})`);
      subTopic.terms[language] = list(line.slice(colon + 3));
    }
  }
  return { topics, subTopics };
}

export const LEXICON: Lexicon = parseLexicon();

/** Sub-topics that have words in a language. */
export function subTopicsIn(language: string): number[] {
  return LEXICON.subTopics.flatMap((subTopic, index) => (subTopic.terms[language] ? [index] : []));
}
