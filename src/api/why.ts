// One short sentence on why a post is shown: the most personal of its sources.
import type { Post } from '../contracts.ts';
import type { SlateFacts, SnapshotEntry } from './feed-snapshot.ts';

export function whyShown(
  entry: Pick<SnapshotEntry, 'sources'>,
  post: Pick<Post, 'topic'> | null,
  embeddingKind: SlateFacts['embeddingKind'],
): string {
  const from = new Set(entry.sources);
  const topic = post?.topic;
  if (from.has('following')) return 'from an author you follow';
  if (from.has('similar')) return 'similar to posts you engaged with';
  if (from.has('nearest') && embeddingKind !== 'cold') {
    return topic ? `close to your interests, in ${topic}` : 'close to your interests';
  }
  if (from.has('trending')) return topic ? `trending in ${topic}` : 'trending now';
  if (from.has('fresh')) return topic ? `new in ${topic}` : 'new';
  return topic ? `to get to know you, from ${topic}` : 'to get to know you';
}
