// A process of its own for the tests of the embedded stores: opens what its arguments name, does it, says so in JSON.
import { deadlineIn } from '../../../src/deadline.ts';
import { FeedrankError } from '../../../src/errors.ts';
import { openSqlStore } from '../../../src/features/store/postgres-store.ts';
import { openStateStore } from '../../../src/features/store/state-store.ts';

const [task, dataDir, argument] = process.argv.slice(2);
const say = (message: object) => process.stdout.write(`${JSON.stringify(message)}\n`);
const post = (id: string) => ({ id, authorId: 'author', createdAt: 1, title: 'x'.repeat(200) });

try {
  if (task === 'own') {
    const store = await openSqlStore({ dataDir });
    say({ owner: process.pid });
    setTimeout(() => void store.close(), 60_000);
  } else if (task === 'append-for-ever') {
    const store = await openSqlStore({ dataDir });
    for (let i = 0; ; i++) {
      await store.putPosts([post(`p${i}`)], deadlineIn(10_000));
      say({ stored: i });
    }
  } else if (task === 'fill') {
    const store = await openSqlStore({ dataDir });
    say({ open: true });
    for (let i = 0; ; i++) {
      const batch = Array.from({ length: 2_000 }, (_, j) => post(`p${i}-${j}`));
      await store.putPosts(batch, deadlineIn(20_000));
    }
  } else if (task === 'fill-state') {
    const store = await openStateStore({ dataDir });
    say({ open: true });
    for (let i = 0; ; i++) await store.set(`key-${i}`, new Uint8Array(500_000), 60_000, deadlineIn(20_000));
  } else if (task === 'attach') {
    const store = await openSqlStore({ dataDir, attach: true });
    for (let i = 0; i < 20; i++) await store.putPosts([post(`${argument}-${i}`)], deadlineIn(10_000));
    const bulk = Array.from({ length: 6_000 }, (_, i) => post(`${argument}-bulk-${i}`));
    await store.putPosts(bulk, deadlineIn(30_000));
    await store.close();
    say({ done: true });
  } else if (task === 'lmdb') {
    const store = await openStateStore({ dataDir });
    const seen = { postIds: [argument], atMs: Date.now() };
    for (let i = 0; i < 50; i++) {
      await store.putState(
        'shared',
        { seen: { ...seen, postIds: [`${argument}-${i}`] } },
        deadlineIn(10_000),
      );
    }
    await store.close();
    say({ done: true });
  } else {
    throw new Error(`no task ${task}`);
  }
} catch (error) {
  say({ code: error instanceof FeedrankError ? error.code : 'none', message: String(error) });
  process.exit(3);
}
