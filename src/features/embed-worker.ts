// One thread of the embed pool: a post tower and a user tower session. One job at a time; answers every message.
import { parentPort, workerData } from 'node:worker_threads';
import { FeedrankError, messageOf } from '../errors.ts';
import type { PackedUsers } from './packed-users.ts';
import { PostTower, type PostTowerInput } from './post-tower.ts';
import { UserTower } from './user-tower.ts';

export interface EmbedWorkerData {
  postTowerDir: string;
  userTowerDir: string;
}

export type EmbedRequest =
  | { id: number; kind: 'posts'; posts: readonly PostTowerInput[] }
  | { id: number; kind: 'users'; users: PackedUsers }
  | { id: number; kind: 'close' };

export type EmbedResponse =
  | { kind: 'ready'; dim: number; postTower: string; userTower: string; coldStart: Float32Array }
  | { kind: 'refused'; error: string }
  | { kind: 'result'; id: number; vectors: Float32Array }
  | { kind: 'failed'; id: number; error: string };

const port = parentPort;
if (!port) throw new Error('embed-worker runs in a worker thread');

const answer = (response: EmbedResponse, transfer: ArrayBuffer[] = []) =>
  port.postMessage(response, transfer);

try {
  const { postTowerDir, userTowerDir } = workerData as EmbedWorkerData;
  const posts = await PostTower.load(postTowerDir);
  const users = await UserTower.load(userTowerDir);
  if (users.postTower !== posts.version || users.dim !== posts.dim) {
    throw new FeedrankError(
      'corrupt_artifact',
      `${users.version} fits ${users.postTower}, not ${posts.version}`,
    );
  }
  // A chain, so that a close waits for the jobs before it and no session is released inside a run.
  let tail = Promise.resolve();
  port.on('message', (request: EmbedRequest) => {
    tail = tail.then(async () => {
      if (request.kind === 'close') {
        await posts.release();
        await users.release();
        port.close();
        return;
      }
      try {
        const vectors =
          request.kind === 'posts'
            ? await posts.embed(request.posts)
            : await users.embedPacked(request.users);
        answer({ kind: 'result', id: request.id, vectors }, [vectors.buffer as ArrayBuffer]);
      } catch (error) {
        answer({ kind: 'failed', id: request.id, error: messageOf(error) });
      }
    });
  });
  const { dim, version } = posts;
  answer({ kind: 'ready', dim, postTower: version, userTower: users.version, coldStart: users.coldStart() });
} catch (error) {
  answer({ kind: 'refused', error: messageOf(error) });
  port.close();
}
