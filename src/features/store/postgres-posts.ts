// PostStore over SQL. An unchanged post writes nothing; a deleted one stays as a tombstone without its content.
import type { Post, PostStore } from '../../contracts.ts';
import type { Deadline } from '../../deadline.ts';
import { invalid } from '../../errors.ts';
import { between, inOrder, sampledBounds } from './parallel-scan.ts';
import type { SqlClient, Statement } from './sql-client.ts';
import { checkKey, checkOptionalText, checkTime, extraJson } from './storable.ts';

/** Rows of one statement: above this PGlite's memory and the wait of others grow, the rate does not. */
const CHUNK_ROWS = 5_000;

const PUT: Statement = {
  name: 'posts_put',
  text: `
insert into posts as p
  (id, author_id, created_at, title, body, topic, language, url, media_type, reply_to, sensitive, extra)
select id, author_id, created_at, title, body, topic, language, url, media_type, reply_to, sensitive, extra
from json_to_recordset($1) as r(
  id text, author_id text, created_at double precision, title text, body text, topic text, language text,
  url text, media_type text, reply_to text, sensitive boolean, extra jsonb)
order by id
on conflict (id) do update set
  author_id = excluded.author_id, created_at = excluded.created_at, title = excluded.title,
  body = excluded.body, topic = excluded.topic, language = excluded.language, url = excluded.url,
  media_type = excluded.media_type, reply_to = excluded.reply_to, sensitive = excluded.sensitive,
  extra = excluded.extra, deleted_at = null, txid = excluded.txid, seq = excluded.seq
where (p.author_id, p.created_at, p.title, p.body, p.topic, p.language, p.url, p.media_type, p.reply_to,
    p.sensitive, p.extra, p.deleted_at)
  is distinct from (excluded.author_id, excluded.created_at, excluded.title, excluded.body, excluded.topic,
    excluded.language, excluded.url, excluded.media_type, excluded.reply_to, excluded.sensitive, excluded.extra,
    null::double precision)
returning id`,
};

export const POST_COLUMNS =
  'id, author_id, created_at, title, body, topic, language, url, media_type, reply_to, sensitive, extra';

const GET: Statement = {
  name: 'posts_get',
  // One look-up by the key for each id: without statistics, as on PGlite, 'id = any' walks the index over time.
  text: `
select ${POST_COLUMNS} from unnest($1::text[]) as wanted (key)
join lateral (select * from posts where id = wanted.key and deleted_at is null offset 0) p on true`,
};

const DELETE: Statement = {
  name: 'posts_delete',
  text: `
update posts set deleted_at = $2, title = null, body = null, topic = null, language = null, url = null,
  media_type = null, reply_to = null, sensitive = null, extra = null,
  txid = pg_current_xact_id(), seq = nextval('change_seq')
where id = $1 and deleted_at is null
returning id`,
};

const SCAN: Statement = {
  name: 'posts_scan',
  text: `select ${POST_COLUMNS} from posts
where deleted_at is null and (created_at, id) > ($2, $3) and created_at < $4 order by created_at, id limit $1`,
};

const MEDIA_TYPES = ['none', 'image', 'video', 'link'];

export interface PostRow {
  id: string;
  author_id: string;
  created_at: number;
  title: string | null;
  body: string | null;
  topic: string | null;
  language: string | null;
  url: string | null;
  media_type: Post['mediaType'] | null;
  reply_to: string | null;
  sensitive: boolean | null;
  extra: Record<string, unknown> | null;
}

export class PostgresPosts implements PostStore {
  readonly #client: SqlClient;

  constructor(client: SqlClient) {
    this.#client = client;
  }

  /** All or nothing. Of two posts with one id the last is stored and carries the flag. */
  async putPosts(posts: readonly Post[], deadline: Deadline): Promise<boolean[]> {
    if (posts.length === 0) return [];
    const lastAt = new Map<string, number>();
    const rows = posts.map((post, i) => {
      const row = toRow(post, `posts[${i}]`);
      lastAt.set(post.id, i);
      return row;
    });
    const unique = lastAt.size === rows.length ? rows : rows.filter((row, i) => lastAt.get(row.id) === i);
    const changed = new Set<string>();
    const put = async (run: (values: unknown[]) => Promise<{ id: string }[]>) => {
      for (let at = 0; at < unique.length; at += CHUNK_ROWS) {
        const written = await run([JSON.stringify(unique.slice(at, at + CHUNK_ROWS))]);
        for (const { id } of written) changed.add(id);
      }
    };
    if (unique.length <= CHUNK_ROWS) {
      await put((values) => this.#client.query('storing posts', PUT, values, deadline));
    } else {
      await this.#client.transaction('storing posts', deadline, (run) => put((values) => run(PUT, values)));
    }
    return posts.map((post, i) => lastAt.get(post.id) === i && changed.has(post.id));
  }

  async getPosts(ids: readonly string[], deadline: Deadline): Promise<(Post | null)[]> {
    if (ids.length === 0) return [];
    ids.forEach((id, i) => {
      checkKey(id, `ids[${i}]`);
    });
    const rows = await this.#client.query<PostRow>('reading posts', GET, [ids], deadline);
    const byId = new Map(rows.map((row) => [row.id, postFromRow(row)]));
    return ids.map((id) => byId.get(id) ?? null);
  }

  async deletePost(id: string, deadline: Deadline): Promise<boolean> {
    checkKey(id, 'id');
    const rows = await this.#client.query('deleting a post', DELETE, [id, Date.now()], deadline);
    return rows.length > 0;
  }

  /** By (createdAt, id); with `partitions` > 1 that many segments of time are read at once, and handed on in order. */
  async *scanPosts(batchSize: number, options: { partitions?: number } = {}): AsyncIterable<Post[]> {
    const { partitions = 1 } = options;
    const bounds = await sampledBounds(this.#client, { name: 'posts', column: 'created_at' }, partitions);
    const segments = between(bounds).map(
      ({ from, to }) =>
        () =>
          this.#scanSegment(batchSize, from, to),
    );
    yield* inOrder(segments, partitions);
  }

  async *#scanSegment(batchSize: number, from: number | null, to: number | null): AsyncIterable<Post[]> {
    // The empty id sorts before every id.
    let after: [number | string, string] = [from ?? '-Infinity', ''];
    for (;;) {
      const values = [batchSize, ...after, to ?? 'Infinity'];
      const rows = await this.#client.scan<PostRow>('scanning posts', SCAN, values);
      if (rows.length > 0) yield rows.map(postFromRow);
      if (rows.length < batchSize) return;
      const last = rows[rows.length - 1];
      after = [last.created_at, last.id];
    }
  }
}

function toRow(post: Post, field: string) {
  checkKey(post.id, `${field}.id`);
  checkKey(post.authorId, `${field}.authorId`);
  checkTime(post.createdAt, `${field}.createdAt`);
  checkOptionalText(post.title, `${field}.title`);
  checkOptionalText(post.text, `${field}.text`);
  checkOptionalText(post.topic, `${field}.topic`);
  checkOptionalText(post.language, `${field}.language`);
  checkOptionalText(post.url, `${field}.url`);
  if (post.replyTo != null) checkKey(post.replyTo, `${field}.replyTo`);
  if (post.mediaType != null && !MEDIA_TYPES.includes(post.mediaType)) {
    throw invalid(`${field}.mediaType`, `must be one of ${MEDIA_TYPES.join(', ')}`);
  }
  extraJson(post.extra, `${field}.extra`);
  return {
    id: post.id,
    author_id: post.authorId,
    created_at: post.createdAt,
    title: post.title,
    body: post.text,
    topic: post.topic,
    language: post.language,
    url: post.url,
    media_type: post.mediaType,
    reply_to: post.replyTo,
    sensitive: post.sensitive,
    extra: post.extra,
  };
}

export function postFromRow(row: PostRow): Post {
  const post: Post = { id: row.id, authorId: row.author_id, createdAt: row.created_at };
  if (row.title !== null) post.title = row.title;
  if (row.body !== null) post.text = row.body;
  if (row.topic !== null) post.topic = row.topic;
  if (row.language !== null) post.language = row.language;
  if (row.url !== null) post.url = row.url;
  if (row.media_type !== null) post.mediaType = row.media_type;
  if (row.reply_to !== null) post.replyTo = row.reply_to;
  if (row.sensitive !== null) post.sensitive = row.sensitive;
  if (row.extra !== null) post.extra = row.extra;
  return post;
}
