// MovieLens (movies.csv, ratings.csv): movies as posts, topic = first genre, created when first rated. A rating of 4 or
// more is a click and a like, of 2 or less `not_interested`, else a click.
import { join } from 'node:path';
import { csvRows } from './csv-rows.ts';
import { BatchBuilder, type ImportFormat } from './format.ts';
import { noteFirst } from './globo.ts';

const MOVIES = 'movies.csv';
const RATINGS = 'ratings.csv';
const RATING_COLUMNS = ['userId', 'movieId', 'rating', 'timestamp'];
const FIRST_PASS = 0.3;

export const movielens: ImportFormat = {
  files: [MOVIES, RATINGS],
  detectsLanguage: false,
  async *read(options) {
    const builder = new BatchBuilder(options);
    const rejectIn = (file: string) => (row: number, field: string, reason: string) =>
      builder.reject(file, row, field, reason);
    const ratings = (reject: (row: number, field: string, reason: string) => void) =>
      csvRows(join(options.dir, RATINGS), RATING_COLUMNS, options.limit, reject);

    const movies = new Map<number, number>();
    const users = new Map<number, number>();
    for await (const { values } of ratings(() => {})) {
      const at = Number(values.timestamp) * 1_000;
      if (!(at >= 0)) continue;
      noteFirst(movies, Number(values.movieId), at);
      noteFirst(users, Number(values.userId), at);
    }
    yield builder.take(FIRST_PASS);

    const movieColumns = ['movieId', 'title', 'genres'];
    for await (const { row, values } of csvRows(
      join(options.dir, MOVIES),
      movieColumns,
      options.limit,
      rejectIn(MOVIES),
    )) {
      const genres = values.genres.startsWith('(') ? [] : values.genres.split('|');
      const year = /\((\d{4})\)\s*$/.exec(values.title)?.[1];
      builder.addPost(
        {
          id: values.movieId,
          // No maker is given: each movie is its own author, so that author caps do not bind.
          authorId: `movie:${values.movieId}`,
          createdAt:
            movies.get(Number(values.movieId)) ?? Date.UTC(Math.max(1970, Number(year ?? 1970)), 0, 1),
          title: values.title,
          ...(genres[0] ? { topic: genres[0].toLowerCase() } : {}),
          extra: { genres, ...(year ? { year: Number(year) } : {}) },
        },
        MOVIES,
        row,
      );
      if (builder.countRow()) yield builder.take(FIRST_PASS);
    }
    let made = 0;
    for (const [user, createdAt] of users) {
      builder.addUser({ id: `${user}`, createdAt }, RATINGS, ++made);
      if (made % 5_000 === 0) yield builder.take(FIRST_PASS);
    }

    for await (const { row, values, fraction } of ratings(rejectIn(RATINGS))) {
      const rating = Number(values.rating);
      if (values.rating === '' || !(rating >= 0 && rating <= 5)) {
        builder.reject(RATINGS, row, 'rating', 'must be a number from 0 to 5');
      } else {
        const at = values.timestamp === '' ? Number.NaN : Number(values.timestamp) * 1_000;
        const event = { userId: values.userId, postId: values.movieId, at };
        builder.addEvent({ ...event, type: rating <= 2 ? 'not_interested' : 'click' }, RATINGS, row);
        if (rating >= 4) builder.addEvent({ ...event, type: 'like' }, RATINGS, row);
      }
      if (builder.countRow()) yield builder.take(FIRST_PASS + (1 - FIRST_PASS) * fraction);
    }
    yield builder.take(1);
  },
};
