// Seeded posts and vectors for the index tests: clustered like real embeddings, the same in every process.
import { newPostOf, PostTable } from '../../../../src/candidates/index/post-table.ts';
import type { Post } from '../../../../src/contracts.ts';
import { DIM } from '../../../../src/vocabulary.ts';

export const START_MS = 1_750_000_000_000;

export function randomOf(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

export function unitVector(random: () => number): Float32Array {
  const vector = new Float32Array(DIM);
  for (let i = 0; i < DIM; i++) vector[i] = random() + random() + random() - 1.5;
  return normalised(vector);
}

/** Unit vectors around `clusters` centres. */
export function vectorsOf(count: number, seed = 1, clusters = 20, spread = 0.8): Float32Array[] {
  const random = randomOf(seed);
  const centres = Array.from({ length: clusters }, () => unitVector(random));
  return Array.from({ length: count }, () => {
    const centre = centres[Math.floor(random() * clusters)];
    const noise = unitVector(random);
    return normalised(centre.map((value, i) => value + spread * noise[i]));
  });
}

export function postOf(i: number): Post {
  const title = `Title ${i} about thing${i % 17} and place${i % 29}`;
  return {
    id: `post-${i}`,
    authorId: `author-${i % 50}`,
    createdAt: START_MS + i * 1000,
    title,
    topic: `t${i % 7}`,
  };
}

export function tableOf(
  vectors: readonly Float32Array[],
  baseRows = vectors.length,
  spare = 1000,
): PostTable {
  const table = PostTable.create({
    generation: 'test',
    baseRows,
    capacity: vectors.length + spare,
    keyBytes: (vectors.length + spare) * 40,
  });
  vectors.forEach((vector, i) => {
    table.append(newPostOf(postOf(i)), vector);
  });
  return table;
}

export async function* batchesOf<T>(items: readonly T[], size = 200): AsyncGenerator<T[]> {
  for (let at = 0; at < items.length; at += size) yield items.slice(at, at + size);
}

function normalised(vector: Float32Array): Float32Array {
  const norm = Math.hypot(...vector);
  return vector.map((value) => value / norm);
}
