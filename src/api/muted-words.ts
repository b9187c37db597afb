// Exact check of muted words against a post's whole text. The pipeline drops most by 16-bit hashes of the first
// words; this one, on the page, sees all words and has no collisions.
import type { Post } from '../contracts.ts';

/** Scripts that write without spaces: a word is looked for anywhere in the text. */
const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}]/u;
const WORD = /[\p{L}\p{M}\p{N}_]+/gu;

/** A test for posts with one of the words in title or text; null when there are no words. */
export function mutedWordTest(words: readonly string[]): ((post: Post) => boolean) | null {
  const anywhere: string[] = [];
  const whole: string[] = [];
  for (const word of words) {
    const folded = fold(word);
    const tokens = tokensOf(folded);
    if (tokens === '' || UNSPACED.test(folded)) anywhere.push(folded);
    else whole.push(` ${tokens} `);
  }
  if (anywhere.length + whole.length === 0) return null;
  return (post) => {
    const text = fold(`${post.title ?? ''} ${post.text ?? ''}`);
    if (anywhere.some((word) => text.includes(word))) return true;
    if (whole.length === 0) return false;
    const spaced = ` ${tokensOf(text)} `;
    return whole.some((word) => spaced.includes(word));
  };
}

function fold(text: string): string {
  return text.normalize('NFKC').toLowerCase();
}

function tokensOf(folded: string): string {
  return (folded.match(WORD) ?? []).join(' ');
}
