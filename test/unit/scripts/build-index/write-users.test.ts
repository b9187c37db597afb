// What happens to users while they are written in bulk, on the real embedded state store.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { UserChanges } from '../../../../scripts/build-index/user-changes.ts';
import { UserHistories } from '../../../../scripts/build-index/user-histories.ts';
import { writeUsers } from '../../../../scripts/build-index/write-users.ts';
import { PostTable } from '../../../../src/candidates/index/post-table.ts';
import type { Change, Edge, User } from '../../../../src/contracts.ts';
import { deadlineIn } from '../../../../src/deadline.ts';
import { openStateStore } from '../../../../src/features/store/state-store.ts';
import { DIM } from '../../../../src/vocabulary.ts';

const NOW = Date.now();
const TOWER = 'tower@1';
const soon = () => deadlineIn(10_000);

let folder: string;
let state: Awaited<ReturnType<typeof openStateStore>>;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'feedrank-write-users-'));
  state = await openStateStore({ dataDir: folder });
});
afterEach(async () => {
  await state.close();
  rmSync(folder, { recursive: true, force: true });
});

function userOf(i: number): User {
  return { id: `u${i}`, createdAt: 1 };
}

/** Users as a scan read them before anything changed; `changes` are told when the first of them is written. */
function filling(
  users: number,
  changes: Change[],
  now: (userId: string) => { user: User; edges: Edge[] } | null,
) {
  const table = PostTable.create({ generation: 'test', baseRows: 1, capacity: 4, keyBytes: 64 });
  table.append(
    { id: 'p0', authorId: 'a', createdAt: NOW, topic: '', language: 0, flags: 0, text: '' },
    new Float32Array(DIM).fill(1),
  );
  const histories = new UserHistories(NOW);
  for (let i = 0; i < users; i++) {
    histories.add({ id: '', userId: `u${i}`, postId: 'p0', type: 'click', at: NOW - 1000 }, 0);
  }
  let told = 0;
  const feed = {
    read: async () => {
      const first = told++ === 1;
      return { changes: first ? changes : [], position: `${told}` };
    },
    getUser: async (userId: string) => now(userId),
  };
  return writeUsers({
    table,
    names: { postId: (row) => table.keyOf(row), authorId: () => 'a', topic: () => 0 },
    histories,
    users: (async function* () {
      yield Array.from({ length: users }, (_, i) => ({ user: userOf(i), edges: [] }));
    })(),
    state,
    changes: new UserChanges(feed as unknown as ConstructorParameters<typeof UserChanges>[0], state, '0'),
    tower: TOWER,
    embedUsers: async (inputs) => new Float32Array(inputs.length * DIM).fill(0.125),
    nowMs: NOW,
    onProgress: () => {},
  });
}

it('writes every user once, with vector, history and seen posts', async () => {
  const { written, sample } = await filling(700, [], () => null);
  expect(written).toBe(700);
  expect(sample).toHaveLength(200);
  for (const userId of ['u0', 'u256', 'u699']) {
    const found = await state.getState(userId, TOWER, soon());
    expect(found).toMatchObject({ history: [{ postId: 'p0', type: 'click' }], user: { id: userId } });
    expect(found?.embedding).toHaveLength(DIM);
    expect(found?.seen).toHaveLength(2);
  }
});

it('does not undo a block that came after the user was read and before he was written', async () => {
  const block: Edge = { userId: 'u699', kind: 'block', target: 'x', createdAt: NOW };
  const change: Change = { kind: 'edge', edge: block, on: true } as unknown as Change;
  await filling(700, [change], (userId) => ({ user: userOf(0), edges: userId === 'u699' ? [block] : [] }));
  expect((await state.getState('u699', TOWER, soon()))?.edges).toMatchObject([
    { kind: 'block', target: 'x' },
  ]);
});

it('leaves out a user who was erased meanwhile', async () => {
  const erased = { kind: 'user_erased', userId: 'u699' } as unknown as Change;
  await filling(700, [erased], () => null);
  expect(await state.getState('u699', TOWER, soon())).toBeNull();
  expect(await state.getState('u698', TOWER, soon())).not.toBeNull();
});
