// What of a post is text, and what of it the post tower reads: one definition for serving, index build and training,
// so that a post has the same vector everywhere.
import type { Post } from './contracts.ts';

/** Title and body; '' for a post without either. */
export function postText({ title, text }: Pick<Post, 'title' | 'text'>): string {
  return [title, text].filter(Boolean).join('\n');
}

/** The post tower's inputs of one post. */
export function towerPost(post: Post): { id: string; authorId: string; topic?: string; text: string } {
  return { id: post.id, authorId: post.authorId, topic: post.topic, text: postText(post) };
}
