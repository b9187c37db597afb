// The users' part of `build-index` alone: vectors of users with full histories computed by the committed tower and written
// to a Redis of its own. Called by online-state.ts.
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { newPostOf } from '../../src/candidates/index/new-post.ts';
import { PostTable } from '../../src/candidates/index/post-table.ts';
import type { Post, StateStore, User } from '../../src/contracts.ts';
import { EmbedPool } from '../../src/features/embed-pool.ts';
import { DIM } from '../../src/vocabulary.ts';
import { NameCollector } from '../build-index/post-names.ts';
import { UserHistories } from '../build-index/user-histories.ts';
import { writeUsers } from '../build-index/write-users.ts';
import { REPOSITORY } from '../faults/fault-world.ts';

const POSTS = 100_000;
const AUTHORS = 10_000;
const TOPICS = 40;
const KEY_BYTES = 8;
const HISTORY = 30;
const USER_BATCH = 512;
const HOUR_MS = 3_600_000;
/** Between two engagements: of thirty, some half lie within the time for which seen posts are kept. */
const STEP_MS = 24 * HOUR_MS;

export interface FilledUsers {
  users: number;
  seconds: number;
  /** CPU time of this process with its embed workers, microseconds a user. */
  cpuMicros: number;
}

export async function fillUsers(
  state: StateStore,
  { users, onProgress }: { users: number; onProgress: (line: string) => void },
): Promise<FilledUsers> {
  const nowMs = Date.now();
  const collector = new NameCollector();
  const table = await somePosts(nowMs, collector);
  const histories = new UserHistories(nowMs);
  for (let i = 0; i < users; i++) {
    for (let n = HISTORY; n > 0; n--) {
      const row = (i * 7919 + n * n * 104_729) % POSTS;
      const event = { id: '', userId: `u${i}`, postId: '', type: n % 4 === 0 ? 'like' : 'click' } as const;
      histories.add({ ...event, at: nowMs - n * STEP_MS + (i % 1000) * 1000 }, row);
    }
  }
  const models = join(REPOSITORY, 'models');
  const pool = await EmbedPool.start({
    postTowerDir: join(models, 'post-tower', '1'),
    userTowerDir: join(models, 'user-tower', '1'),
    workers: availableParallelism(),
  });
  try {
    const cpu = process.cpuUsage();
    const startedAt = performance.now();
    let noted = 0;
    const seconds = () => (performance.now() - startedAt) / 1000;
    const { written } = await writeUsers({
      table,
      names: collector.names(table),
      histories,
      users: profiles(users, nowMs),
      state,
      changes: null,
      tower: pool.postTower,
      embedUsers: (inputs) => pool.embedUsers(inputs),
      nowMs,
      onProgress: (done) => {
        if (done - noted < users / 10) return;
        noted = done;
        onProgress(`${done} of ${users} users computed and written, ${Math.round(done / seconds())}/s`);
      },
    });
    const { user, system } = process.cpuUsage(cpu);
    return {
      users: written,
      seconds: Number(seconds().toFixed(2)),
      cpuMicros: Number(((user + system) / written).toFixed(1)),
    };
  } finally {
    await pool.close();
  }
}

async function somePosts(nowMs: number, collector: NameCollector): Promise<PostTable> {
  const table = PostTable.create({
    generation: 'bench',
    baseRows: POSTS,
    capacity: POSTS,
    keyBytes: POSTS * KEY_BYTES,
  });
  const vector = new Float32Array(DIM);
  for await (const [post] of collector.watch(postsOf(nowMs))) {
    const i = table.rows;
    for (let d = 0; d < DIM; d++) vector[d] = Math.sin(1 + i * 0.37 + d * d * (1 + (i % TOPICS)));
    table.append(newPostOf(post), vector);
  }
  return table;
}

async function* postsOf(nowMs: number): AsyncGenerator<Post[]> {
  for (let i = 0; i < POSTS; i++) {
    yield [
      { id: `p${i}`, authorId: `a${i % AUTHORS}`, createdAt: nowMs - HOUR_MS, topic: `topic-${i % TOPICS}` },
    ];
  }
}

async function* profiles(users: number, nowMs: number) {
  for (let at = 0; at < users; at += USER_BATCH) {
    yield Array.from({ length: Math.min(USER_BATCH, users - at) }, (_, i) => {
      const user: User = { id: `u${at + i}`, createdAt: nowMs - 400 * 24 * HOUR_MS, languages: ['en'] };
      return { user, edges: [] };
    });
  }
}
