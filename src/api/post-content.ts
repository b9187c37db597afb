import type { Post } from '../contracts.ts';
import type { PostContent } from './response-schemas.ts';

/** A post as clients see it: everything but the id, which stands beside it. */
export function postContent(post: Post): PostContent {
  const { id: _, ...content } = post;
  return content;
}
