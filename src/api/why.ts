// One short sentence on why a post is shown: the most personal of its sources.
import type { Post } from '../contracts.ts';
import type { SlateFacts, SnapshotEntry } from './feed-snapshot.ts';

export function whyShown(
  entry: Pick<SnapshotEntry, 'sources'>,
  post: Pick<Post, 'topic'> | null,
  embeddingKind: SlateFacts['embeddingKind'],
): string {
  const { sources } = entry;
  const topic = post?.topic;
  if (sources.includes('following')) return 'from an author you follow';
  if (sources.includes('similar')) return 'similar to posts you engaged with';
  if (sources.includes('nearest') && embeddingKind !== 'cold') {
    return topic ? `close to your interests, in ${topic}` : 'close to your interests';
  }
  if (sources.includes('trending')) return topic ? `trending in ${topic}` : 'trending now';
  if (sources.includes('fresh')) return topic ? `new in ${topic}` : 'new';
  return topic ? `to get to know you, from ${topic}` : 'to get to know you';
}
