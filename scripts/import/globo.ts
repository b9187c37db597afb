// Globo news clicks (clicks.parquet): articles without text or author, users, clicks. An article is created at its
// first click, a user at their first; both are known only after a first pass over three columns.
import { join } from 'node:path';
import { BatchBuilder, type ImportFormat } from './format.ts';
import { parquetGroups, toNumber, toTime } from './parquet-rows.ts';

const FILE = 'clicks.parquet';
const COLUMNS = ['user_id', 'click_article_id', 'click_timestamp'] as const;
/** Part of the work done when the first pass ends. */
const FIRST_PASS = 0.2;

export const globo: ImportFormat = {
  files: [FILE],
  detectsLanguage: false,
  async *read(options) {
    const builder = new BatchBuilder(options);
    const path = join(options.dir, FILE);
    const articles = new Map<number, number>();
    const users = new Map<number, number>();
    for await (const group of parquetGroups(path, COLUMNS, options.limit)) {
      const { user_id, click_article_id, click_timestamp } = group.columns;
      for (let i = 0; i < group.rows; i++) {
        const at = toTime(click_timestamp[i]);
        if (!Number.isFinite(at)) continue;
        noteFirst(articles, toNumber(click_article_id[i]), at);
        noteFirst(users, toNumber(user_id[i]), at);
      }
      yield builder.take((FIRST_PASS * (group.firstRow + group.rows)) / group.totalRows);
    }
    let made = 0;
    for (const [article, createdAt] of articles) {
      made++;
      // No author is known: each article is its own, so that author caps do not bind.
      const post = { id: `${article}`, authorId: `article:${article}`, createdAt, mediaType: 'link' };
      builder.addPost(post, FILE, made);
      if (made % 5_000 === 0) yield builder.take(FIRST_PASS);
    }
    made = 0;
    for (const [user, createdAt] of users) {
      builder.addUser({ id: `${user}`, createdAt }, FILE, ++made);
      if (made % 5_000 === 0) yield builder.take(FIRST_PASS);
    }
    articles.clear();
    users.clear();
    for await (const group of parquetGroups(path, COLUMNS, options.limit)) {
      const { user_id, click_article_id, click_timestamp } = group.columns;
      for (let i = 0; i < group.rows; i++) {
        const row = group.firstRow + i + 1;
        const user = toNumber(user_id[i]);
        const article = toNumber(click_article_id[i]);
        if (Number.isNaN(user)) builder.reject(FILE, row, 'user_id', 'must be an integer');
        else if (Number.isNaN(article)) builder.reject(FILE, row, 'click_article_id', 'must be an integer');
        else {
          const event = {
            userId: `${user}`,
            postId: `${article}`,
            type: 'click',
            at: toTime(click_timestamp[i]),
          };
          builder.addEvent(event, FILE, row);
        }
        if (builder.countRow()) yield builder.take(FIRST_PASS + (1 - FIRST_PASS) * (row / group.totalRows));
      }
    }
    yield builder.take(1);
  },
};

/** Keeps the smallest time of a key. */
export function noteFirst(first: Map<number, number>, key: number, at: number): void {
  if (Number.isNaN(key)) return;
  const known = first.get(key);
  if (known === undefined || at < known) first.set(key, at);
}
