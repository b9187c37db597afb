// What a patch of engagements makes of a user's history. Pure. Called by state-fields.ts.
import type { HistoryEntry } from '../../contracts.ts';
import { HISTORY_LIMIT } from '../../vocabulary.ts';

/**
 * Newest first, one entry per (post, type), at most HISTORY_LIMIT of engagements and of un-likes. A like that is not
 * newer than the un-like of its post is dropped, in whatever order they come. `forget` is applied last.
 */
export function mergeHistory(
  present: readonly HistoryEntry[],
  added: readonly HistoryEntry[],
  forget: readonly { postId: string; type: string }[],
): HistoryEntry[] {
  if (present.length === 0 && forget.length === 0 && isMerged(added)) return [...added];
  const byKey = new Map<string, HistoryEntry>();
  for (const entry of [...present, ...added]) {
    const key = `${entry.type} ${entry.postId}`;
    const other = byKey.get(key);
    if (!other || entry.at >= other.at) byKey.set(key, entry);
  }
  for (const { type, postId } of forget) byKey.delete(`${type} ${postId}`);
  const unlikes = [...byKey.values()].filter((entry) => entry.type === 'unlike');
  for (const { postId, at } of unlikes) {
    const like = byKey.get(`like ${postId}`);
    if (like && like.at <= at) byKey.delete(`like ${postId}`);
  }
  const newest = (entries: HistoryEntry[]) =>
    entries
      .sort((a, b) => b.at - a.at || compare(a.postId, b.postId) || compare(a.type, b.type))
      .slice(0, HISTORY_LIMIT);
  return [...newest([...byKey.values()].filter((entry) => entry.type !== 'unlike')), ...newest(unlikes)];
}

/** Whether merging would change nothing: a bulk write's histories are made so. */
function isMerged(history: readonly HistoryEntry[]): boolean {
  if (history.length > HISTORY_LIMIT) return false;
  const posts = new Set<string>();
  for (let i = 0; i < history.length; i++) {
    const { postId, type, at } = history[i];
    if (type === 'unlike' || (i > 0 && !(at < history[i - 1].at))) return false;
    posts.add(postId);
  }
  return posts.size === history.length;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
