// Turns a user's online state into the flat arrays that the pipeline reads. Pure; called for every request.
import type { Edge, EdgeKind, PackedUser, UserState } from './contracts.ts';
import { hash32, hash64, packHashes } from './hashing.ts';
import { wordHash } from './post-record.ts';
import { engagementCode, languageCode } from './vocabulary.ts';

/**
 * @param state null for a user nothing is known of.
 * @param embedding unit vector [64] to rank with: the stored one, or a cold-start vector.
 */
export function packUser(
  userId: string,
  state: UserState | null,
  embedding: Float32Array,
  embeddingKind: PackedUser['embeddingKind'],
): PackedUser {
  const history = state?.history ?? [];
  const edges = state?.edges ?? [];
  const user = state?.user ?? null;
  const self = hash64(userId);
  const historyTopics = new Uint32Array(history.length);
  const historyTypes = new Uint8Array(history.length);
  const historyAtMs = new Float64Array(history.length);
  for (let i = 0; i < history.length; i++) {
    const entry = history[i];
    historyTopics[i] = entry.topic;
    historyTypes[i] = engagementCode(entry.type, entry.dwellMs);
    historyAtMs[i] = entry.at;
  }
  return {
    userLo: self.lo,
    userHi: self.hi,
    embedding,
    embeddingKind,
    historyKeys: packHashes(history.map((entry) => entry.postId)),
    historyAuthors: packHashes(history.map((entry) => entry.authorId)),
    historyTopics,
    historyTypes,
    historyAtMs,
    seen: state?.seen ?? new Uint32Array(0),
    follows: packHashes(targets(edges, 'follow')),
    blockedAuthors: packHashes(targets(edges, 'block')),
    mutedAuthors: packHashes(targets(edges, 'mute_author')),
    mutedTopics: Uint32Array.from(targets(edges, 'mute_topic'), hash32),
    interestTopics: Uint32Array.from(user?.topics ?? [], hash32),
    mutedWords: Uint16Array.from(targets(edges, 'mute_word'), (word) => wordHash(word.toLowerCase())),
    languages: Uint8Array.from((user?.languages ?? []).map(languageCode).filter((code) => code > 0)),
    accountCreatedAtMs: user?.createdAt ?? 0,
    showSensitive: user?.showSensitive ?? false,
  };
}

function targets(edges: readonly Edge[], kind: EdgeKind): string[] {
  const found: string[] = [];
  for (const edge of edges) if (edge.kind === kind) found.push(edge.target);
  return found;
}
