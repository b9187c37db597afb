// A world's newest index opened in this process, with the users that read it: what the kernels are measured on.
import { join } from 'node:path';
import { type Generation, loadFolder, loadGeneration } from '../../src/candidates/index/artifact.ts';
import { ExactIndex } from '../../src/candidates/index/exact-index.ts';
import type { FeedQuery, PackedUser } from '../../src/contracts.ts';
import { deadlineIn } from '../../src/deadline.ts';
import { openStateStore } from '../../src/features/store/state-store.ts';
import { packUser } from '../../src/pack-user.ts';
import { createdAtMs } from '../../src/post-record.ts';
import { steadyNow } from '../../src/steady-clock.ts';
import { type BenchWorld, benchWorld } from './world.ts';

/** Users that are measured with. */
const READERS = 200;

export interface KernelWorld {
  indexDir: string;
  generation: Generation;
  scan: ExactIndex;
  users: PackedUser[];
  /** End of the world, unix ms: posts are younger than this. */
  nowMs: number;
}

export async function openKernelWorld(options: BenchWorld): Promise<KernelWorld> {
  const dataDir = await benchWorld(options);
  const indexDir = join(dataDir, 'index');
  const published = await loadGeneration(indexDir, undefined, { liveCapacity: 0 });
  if (!published) throw new Error(`${indexDir}: no index was published`);
  const { manifest } = published;
  const folder = join(indexDir, manifest.version);
  const generation = await loadFolder(folder, manifest, { liveCapacity: 0, withLists: true });
  const state = await openStateStore({ dataDir });
  const users: PackedUser[] = [];
  try {
    for (let i = 0; users.length < READERS && i < options.users; i++) {
      const found = await state.getState(`u${i}`, manifest.tower, deadlineIn(10_000));
      if (found?.embedding) users.push(packUser(`u${i}`, found, found.embedding, 'stored'));
    }
  } finally {
    await state.close();
  }
  if (users.length === 0) throw new Error(`${dataDir}: no user has a vector`);
  const { records, rows } = generation.table;
  const nowMs = createdAtMs(records, rows - 1);
  return { indexDir, generation, scan: await ExactIndex.open(generation.table), users, nowMs };
}

export function queryOf(user: PackedUser, nowMs: number, candidates = 1000): FeedQuery {
  return {
    requestId: 'bench',
    user,
    nowMs,
    seed: 1,
    candidates,
    slateSize: 150,
    exclude: new Uint32Array(0),
    explain: 0,
    explore: false,
    deadlineAtMs: steadyNow() + 3_600_000,
  };
}
