// What a training set is made from: the SQL store, or a generated world; and the towers, in embed workers.

import { ColdStart } from '../../src/cold-start.ts';
import type { Edge, EngagementEvent, EventStore, Post, PostStore, User } from '../../src/contracts.ts';
import type { EmbedPool } from '../../src/features/embed-pool.ts';
import type { World } from '../generate/world.ts';
import type { TrainingSource, TrainingTowers } from './training-set.ts';

const BATCH = 5000;

export function storeSource(
  store: Pick<PostStore, 'scanPosts'> & Pick<EventStore, 'scanEvents' | 'scanUsers'>,
): TrainingSource {
  return {
    posts: () => store.scanPosts(BATCH),
    users: () => store.scanUsers(BATCH),
    events: () => store.scanEvents(BATCH),
  };
}

/** Holds all events in memory (≈ 300 bytes each), since a world gives them user by user. */
export function worldSource(world: World): TrainingSource {
  let sorted: EngagementEvent[] | null = null;
  return {
    posts: () => each(world.posts(BATCH)),
    users: () => usersWithEdges(world),
    events: () => {
      sorted ??= [...world.events()].flat().sort((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1));
      return slices(sorted);
    },
  };
}

/** The towers of an embed pool as the training set wants them. */
export function poolTowers(pool: EmbedPool): TrainingTowers {
  const cold = new ColdStart((posts) => pool.embedPosts(posts), pool.coldStart());
  return {
    postTower: pool.postTower,
    userTower: pool.userTower,
    embedPosts: (posts) => pool.embedPosts(posts),
    embedUsers: (users) => pool.embedUsers(users),
    coldStart: (user) => cold.vector(user),
  };
}

async function* each(batches: Iterable<Post[]>): AsyncGenerator<Post[]> {
  yield* batches;
}

async function* slices(events: EngagementEvent[]): AsyncGenerator<EngagementEvent[]> {
  for (let at = 0; at < events.length; at += BATCH) yield events.slice(at, at + BATCH);
}

async function* usersWithEdges(world: World): AsyncGenerator<{ user: User; edges: Edge[] }[]> {
  const edges = new Map<string, Edge[]>();
  for (const batch of world.edges()) {
    for (const edge of batch) {
      const own = edges.get(edge.userId);
      if (own) own.push(edge);
      else edges.set(edge.userId, [edge]);
    }
  }
  for (const batch of world.users()) yield batch.map((user) => ({ user, edges: edges.get(user.id) ?? [] }));
}
