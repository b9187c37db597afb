// A serving record as the log stores it: its posts as columns, since fifty objects that each name their six heads are
// three fifths of a record. Records from before that are read as they are. Called by postgres-serving-log.ts.
import type { ServedPost, ServingRecord } from '../../contracts.ts';
import { type Head, SOURCES } from '../../vocabulary.ts';

/** Entry i of every list belongs together. */
interface Columns {
  ids: string[];
  tokens: string[];
  positions: number[];
  scores: number[];
  propensities: number[];
  /** Bits `1 << SOURCES.indexOf(source)`. */
  sources: number[];
  heads: string[];
  /** [posts × heads]; a post without probabilities has nulls. */
  probabilities: (number | null)[];
}

export type StoredRecord = Omit<ServingRecord, 'posts'> & ({ posts: ServedPost[] } | { columns: Columns });

export function encodeRecord({ posts, ...rest }: ServingRecord): StoredRecord {
  const ranked = posts.find((post) => post.probabilities !== null);
  const heads = Object.keys(ranked?.probabilities ?? {}) as Head[];
  const columns: Columns = {
    ids: [],
    tokens: [],
    positions: [],
    scores: [],
    propensities: [],
    sources: [],
    heads,
    probabilities: [],
  };
  for (const { postId, token, position, score, propensity, sources, probabilities } of posts) {
    columns.ids.push(postId);
    columns.tokens.push(token);
    columns.positions.push(position);
    columns.scores.push(score);
    columns.propensities.push(propensity);
    let bits = 0;
    for (const source of sources) bits |= 1 << SOURCES.indexOf(source);
    columns.sources.push(bits);
    for (const head of heads) columns.probabilities.push(probabilities === null ? null : probabilities[head]);
  }
  return { ...rest, columns };
}

export function decodeRecord(stored: StoredRecord): ServingRecord {
  if ('posts' in stored) return stored;
  const { columns, ...rest } = stored;
  const { heads } = columns;
  const posts = columns.ids.map((postId, i): ServedPost => {
    const values = columns.probabilities.slice(i * heads.length, (i + 1) * heads.length);
    const isRanked = values.length > 0 && values[0] !== null;
    return {
      postId,
      token: columns.tokens[i],
      position: columns.positions[i],
      score: columns.scores[i],
      propensity: columns.propensities[i],
      sources: SOURCES.filter((_, source) => columns.sources[i] & (1 << source)),
      probabilities: isRanked
        ? (Object.fromEntries(heads.map((head, h) => [head, values[h]])) as Record<Head, number>)
        : null,
    };
  });
  return { ...rest, posts };
}
