// What every PostStore must do. Run over each adapter by pglite.test.ts and postgres.test.ts.
import { describe, expect, it } from 'vitest';
import type { Post, PostStore } from '../../src/contracts.ts';
import { deadlineIn } from '../../src/deadline.ts';
import { collect, soon, unique } from '../setup/test-servers.ts';

const NOW = Date.UTC(2026, 0, 1);

function post(id: string, change: Partial<Post> = {}): Post {
  return { id, authorId: 'author', createdAt: NOW, ...change };
}

export function postStoreContract(store: () => PostStore): void {
  describe('posts', () => {
    it('gives back exactly what was stored, absent fields absent, in the order asked', async () => {
      const full: Post = {
        id: unique('full/é 😀 "\\{},'),
        authorId: 'author, "x" \\',
        createdAt: NOW + 0.5,
        title: 'A "title" with \\ and \n new line, 😀',
        text: '',
        topic: 'topic',
        language: 'en',
        url: 'https://example.org/?a=1&b=2',
        mediaType: 'video',
        replyTo: 'other',
        sensitive: false,
        extra: { n: 1, nested: { list: [1, 'two', null] }, text: 'back\\slash \\u0041' },
      };
      const bare = post(unique('bare'));
      expect(await store().putPosts([full, bare], soon())).toEqual([true, true]);
      expect(await store().getPosts([bare.id, 'nobody wrote this', full.id, bare.id], soon())).toEqual([
        bare,
        null,
        full,
        bare,
      ]);
    });

    it('says which posts were new or changed, and which were not', async () => {
      const [a, b] = [unique('a'), unique('b')];
      expect(await store().putPosts([post(a), post(b)], soon())).toEqual([true, true]);
      expect(await store().putPosts([post(a), post(b, { title: 'new' })], soon())).toEqual([false, true]);
      expect(await store().putPosts([post(a), post(b, { title: 'new' })], soon())).toEqual([false, false]);
      expect(await store().putPosts([post(b)], soon())).toEqual([true]);
      expect(await store().getPosts([b], soon())).toEqual([post(b)]);
    });

    it('stores the last of several posts with one id', async () => {
      const id = unique('twice');
      const flags = await store().putPosts(
        [post(id, { title: 'first' }), post(id, { title: 'last' })],
        soon(),
      );
      expect(flags).toEqual([false, true]);
      expect((await store().getPosts([id], soon()))[0]?.title).toBe('last');
    });

    it('deletes once, hides the post everywhere, and takes it back when it is posted again', async () => {
      const id = unique('deleted');
      await store().putPosts([post(id, { title: 'secret' })], soon());
      expect(await store().deletePost(id, soon())).toBe(true);
      expect(await store().deletePost(id, soon())).toBe(false);
      expect(await store().deletePost(unique('never'), soon())).toBe(false);
      expect(await store().getPosts([id], soon())).toEqual([null]);
      expect((await collect(store().scanPosts(1000))).map((found) => found.id)).not.toContain(id);
      expect(await store().putPosts([post(id)], soon())).toEqual([true]);
      expect(await store().getPosts([id], soon())).toEqual([post(id)]);
    });

    it('scans all live posts by (createdAt, id), whatever the batch size', async () => {
      const author = unique('author');
      const ids = Array.from({ length: 23 }, (_, i) => unique(`scan-${String(i).padStart(2, '0')}`)).sort();
      const posts = ids.map((id, i) => post(id, { authorId: author, createdAt: NOW + Math.floor(i / 5) }));
      await store().putPosts(posts.toReversed(), soon());
      for (const batchSize of [1, 4, 23, 10_000]) {
        const found = (await collect(store().scanPosts(batchSize))).filter(
          (each) => each.authorId === author,
        );
        expect(found.map((each) => each.id)).toEqual(ids);
      }
    });

    it('stores 12,000 posts in one call', async () => {
      const author = unique('author');
      const posts = Array.from({ length: 12_000 }, (_, i) => post(`${author}/${i}`, { authorId: author }));
      const flags = await store().putPosts(posts, deadlineIn(30_000));
      expect(flags.filter(Boolean)).toHaveLength(12_000);
      const ids = [posts[0].id, posts[11_999].id];
      expect(await store().getPosts(ids, soon())).toEqual([posts[0], posts[11_999]]);
    });

    it('answers empty lists without work', async () => {
      expect(await store().putPosts([], soon())).toEqual([]);
      expect(await store().getPosts([], soon())).toEqual([]);
    });

    const bad: [string, Partial<Post>, string][] = [
      ['an empty id', { id: '' }, 'posts[1].id'],
      ['an id with NUL', { id: 'a\0b' }, 'posts[1].id'],
      ['an id of 10 kB', { id: 'x'.repeat(10_000) }, 'posts[1].id'],
      ['an id that is no string', { id: 7 as unknown as string }, 'posts[1].id'],
      ['no author', { authorId: undefined as unknown as string }, 'posts[1].authorId'],
      ['a lone surrogate in the title', { title: 'x\ud800' }, 'posts[1].title'],
      ['NUL in the text', { text: '\0' }, 'posts[1].text'],
      ['NaN as time', { createdAt: Number.NaN }, 'posts[1].createdAt'],
      ['Infinity as time', { createdAt: Number.POSITIVE_INFINITY }, 'posts[1].createdAt'],
      ['null as time', { createdAt: null as unknown as number }, 'posts[1].createdAt'],
      ['an unknown media type', { mediaType: 'gif' as 'image' }, 'posts[1].mediaType'],
      ['NUL inside extra', { extra: { deep: ['a\0b'] } }, 'posts[1].extra'],
      ['a lone surrogate inside extra', { extra: { deep: '\udc00' } }, 'posts[1].extra'],
      ['more than 4 kB of extra', { extra: { big: 'x'.repeat(5_000) } }, 'posts[1].extra'],
      ['a list as extra', { extra: [] as unknown as Record<string, unknown> }, 'posts[1].extra'],
    ];
    it.each(bad)('refuses %s, names the field and stores nothing of the batch', async (_, change, field) => {
      const good = post(unique('good'));
      await expect(store().putPosts([good, post(unique('bad'), change)], soon())).rejects.toMatchObject({
        code: 'invalid_input',
        fields: [{ field }],
      });
      expect(await store().getPosts([good.id], soon())).toEqual([null]);
    });

    it('gives up at once when no time is left', async () => {
      await expect(store().getPosts(['x'], deadlineIn(0))).rejects.toMatchObject({ code: 'timeout' });
    });
  });
}
