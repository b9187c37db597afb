// Reddit titles (posts.parquet): posts only. No author is given, so the domain linked to stands for it; the topic is
// the subreddit. Votes and comments as counted at the time of the crawl are kept in `extra`.
import { join } from 'node:path';
import { BatchBuilder, type ImportFormat } from './format.ts';
import { parquetGroups, toKey, toNumber } from './parquet-rows.ts';

const FILE = 'posts.parquet';
const COLUMNS = [
  'id',
  'subreddit',
  'created_utc',
  'score',
  'ups',
  'downs',
  'num_comments',
  'domain',
  'title',
  'is_self',
] as const;

const IMAGE_HOSTS = /(^|\.)(imgur\.com|i\.redd\.it|flickr\.com|quickmeme\.com|minus\.com|tumblr\.com)$/;
const VIDEO_HOSTS = /(^|\.)(youtube\.com|youtu\.be|vimeo\.com|v\.redd\.it|twitch\.tv|dailymotion\.com)$/;

export const reddit: ImportFormat = {
  files: [FILE],
  // 2.2 million titles at 170 µs would add six minutes.
  detectsLanguage: false,
  async *read(options) {
    const builder = new BatchBuilder(options);
    for await (const group of parquetGroups(join(options.dir, FILE), COLUMNS, options.limit)) {
      const { id, subreddit, created_utc, score, ups, downs, num_comments, domain, title, is_self } =
        group.columns;
      for (let i = 0; i < group.rows; i++) {
        const site = toKey(domain[i]);
        builder.addPost(
          {
            id: id[i],
            authorId: site === undefined ? undefined : `domain:${site}`,
            createdAt: toNumber(created_utc[i]) * 1_000,
            title: typeof title[i] === 'string' ? unescapeHtml(title[i] as string) : undefined,
            topic: subreddit[i] ?? undefined,
            mediaType: mediaType(site ?? '', is_self[i] === true),
            extra: {
              score: toNumber(score[i]),
              ups: toNumber(ups[i]),
              downs: toNumber(downs[i]),
              comments: toNumber(num_comments[i]),
            },
          },
          FILE,
          group.firstRow + i + 1,
        );
        if (builder.countRow()) yield builder.take((group.firstRow + i + 1) / group.totalRows);
      }
    }
    yield builder.take(1);
  },
};

function mediaType(domain: string, isSelf: boolean): 'none' | 'image' | 'video' | 'link' {
  if (isSelf) return 'none';
  if (IMAGE_HOSTS.test(domain)) return 'image';
  return VIDEO_HOSTS.test(domain) ? 'video' : 'link';
}

/** Titles carry the three entities that Reddit escapes. */
function unescapeHtml(text: string): string {
  return text.includes('&')
    ? text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&')
    : text;
}
