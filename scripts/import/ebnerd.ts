// EB-NeRD news impressions (behaviors.parquet, history.parquet): articles without text, users, and for each impression
// the articles in view, those clicked and the reading time. In-view lists come shuffled, so events carry no position.
import { join } from 'node:path';
import { BatchBuilder, type ImportFormat } from './format.ts';
import { noteFirst } from './globo.ts';
import { parquetGroups, toList, toNumber, toTime } from './parquet-rows.ts';

const BEHAVIORS = 'behaviors.parquet';
const HISTORY = 'history.parquet';
const BEHAVIOR_COLUMNS = [
  'user_id',
  'impression_time',
  'article_ids_inview',
  'article_ids_clicked',
  'next_read_time',
] as const;
const HISTORY_COLUMNS = ['user_id', 'impression_time_fixed', 'article_id_fixed', 'read_time_fixed'] as const;
/** Parts of the work done when the first pass, and the histories, end. */
const FIRST_PASS = 0.1;
const HISTORIES = 0.75;

export const ebnerd: ImportFormat = {
  files: [BEHAVIORS, HISTORY],
  detectsLanguage: false,
  async *read(options) {
    const builder = new BatchBuilder(options);
    const articles = new Map<number, number>();
    const users = new Map<number, number>();
    const histories = () => parquetGroups(join(options.dir, HISTORY), HISTORY_COLUMNS, options.limit);
    const behaviors = () => parquetGroups(join(options.dir, BEHAVIORS), BEHAVIOR_COLUMNS, options.limit);

    for await (const { rows, columns } of histories()) {
      for (let i = 0; i < rows; i++) {
        const times = toList(columns.impression_time_fixed[i]);
        toList(columns.article_id_fixed[i]).forEach((article, k) => {
          noteFirst(articles, toNumber(article), toTime(times[k]));
          noteFirst(users, toNumber(columns.user_id[i]), toTime(times[k]));
        });
      }
    }
    for await (const { rows, columns } of behaviors()) {
      for (let i = 0; i < rows; i++) {
        const at = toTime(columns.impression_time[i]);
        const seen = [...toList(columns.article_ids_inview[i]), ...toList(columns.article_ids_clicked[i])];
        for (const article of seen) noteFirst(articles, toNumber(article), at);
        noteFirst(users, toNumber(columns.user_id[i]), at);
      }
    }
    let made = 0;
    for (const [article, createdAt] of articles) {
      const post = { id: `${article}`, authorId: `article:${article}`, createdAt, mediaType: 'link' };
      builder.addPost(post, BEHAVIORS, ++made);
      if (made % 5_000 === 0) yield builder.take(FIRST_PASS);
    }
    made = 0;
    for (const [user, createdAt] of users) builder.addUser({ id: `${user}`, createdAt }, BEHAVIORS, ++made);
    yield builder.take(FIRST_PASS);

    for await (const { firstRow, rows, totalRows, columns } of histories()) {
      for (let i = 0; i < rows; i++) {
        const row = firstRow + i + 1;
        const userId = `${toNumber(columns.user_id[i])}`;
        const times = toList(columns.impression_time_fixed[i]);
        const reads = toList(columns.read_time_fixed[i]);
        for (const [k, article] of toList(columns.article_id_fixed[i]).entries()) {
          const event = { userId, postId: `${toNumber(article)}`, at: toTime(times[k]) };
          builder.addEvent({ ...event, type: 'click' }, HISTORY, row);
          addReading(builder, event, toNumber(reads[k]), HISTORY, row);
        }
        if (builder.countRow()) yield builder.take(FIRST_PASS + (HISTORIES - FIRST_PASS) * (row / totalRows));
      }
    }
    for await (const { firstRow, rows, totalRows, columns } of behaviors()) {
      for (let i = 0; i < rows; i++) {
        const row = firstRow + i + 1;
        const userId = `${toNumber(columns.user_id[i])}`;
        const at = toTime(columns.impression_time[i]);
        for (const article of toList(columns.article_ids_inview[i])) {
          builder.addEvent(
            { userId, postId: `${toNumber(article)}`, type: 'impression', at },
            BEHAVIORS,
            row,
          );
        }
        for (const [k, article] of toList(columns.article_ids_clicked[i]).entries()) {
          const event = { userId, postId: `${toNumber(article)}`, at };
          builder.addEvent({ ...event, type: 'click' }, BEHAVIORS, row);
          if (k === 0) addReading(builder, event, toNumber(columns.next_read_time[i]), BEHAVIORS, row);
        }
        if (builder.countRow()) yield builder.take(HISTORIES + (1 - HISTORIES) * (row / totalRows));
      }
    }
    yield builder.take(1);
  },
};

/** A dwell event out of a reading time in seconds; none where the time was not recorded. */
function addReading(
  builder: BatchBuilder,
  event: { userId: string; postId: string; at: number },
  seconds: number,
  file: string,
  row: number,
): void {
  if (seconds > 0) builder.addEvent({ ...event, type: 'dwell', dwellMs: seconds * 1_000 }, file, row);
}
