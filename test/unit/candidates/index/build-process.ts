// A build in a process of its own, for build.test.ts: stops for good when it reaches a stage, to be killed there.
import { writeSync } from 'node:fs';
import { buildIndex } from '../../../../src/candidates/index/build.ts';
import { batchesOf, postOf, vectorsOf } from './seeded-posts.ts';

const [indexDir, holdAt] = process.argv.slice(2);
const vectors = vectorsOf(2000, 11);

await buildIndex({
  indexDir,
  tower: 'post-tower@1',
  position: '0',
  posts: batchesOf(vectors.map((_, i) => postOf(i))),
  embed: async (batch) => {
    const out = new Float32Array(batch.length * 64);
    batch.forEach((post, i) => {
      out.set(vectors[Number(post.id.slice(5))], i * 64);
    });
    return out;
  },
  graphFromRows: 1000,
  m: 8,
  efConstruction: 40,
  k: 100,
  onProgress: ({ stage }) => {
    if (stage !== holdAt) return;
    writeSync(1, 'held\n');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  },
});
