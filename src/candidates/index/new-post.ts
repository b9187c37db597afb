// What the table takes of a post, and how a stored post becomes it. Used by whoever appends to a PostTable.
import type { Post } from '../../contracts.ts';
import { FLAG } from '../../post-record.ts';
import { postText } from '../../post-text.ts';
import { languageCode } from '../../vocabulary.ts';

/** `flags` are FLAG bits but `deleted`, `language` a position in LANGUAGES. */
export interface NewPost {
  id: string;
  authorId: string;
  createdAt: number;
  /** '' = none. */
  topic: string;
  language: number;
  flags: number;
  /** Title and text. */
  text: string;
}

export function newPostOf(post: Post): NewPost {
  const text = postText(post);
  const media = post.mediaType !== undefined && post.mediaType !== 'none';
  const flags =
    (post.sensitive ? FLAG.sensitive : 0) |
    (post.replyTo ? FLAG.reply : 0) |
    (media ? FLAG.media : 0) |
    (text ? FLAG.text : 0);
  const { id, authorId, createdAt } = post;
  return {
    id,
    authorId,
    createdAt,
    topic: post.topic ?? '',
    language: languageCode(post.language),
    flags,
    text,
  };
}
