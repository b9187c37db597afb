// `npm run bench -- scale`: build time, files, memory, load and search against the number of posts, each size in
// processes of its own over generated vectors. Memory a row is checked before a size is begun.
import { fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { freemem, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BuildFigures, MeasureFigures, ScaleTask } from './scale-index.ts';

export interface ScaleOptions {
  sizes: number[];
  seed: number;
  graph: boolean;
  /** An index folder that was built of real posts, measured beside the generated sizes. */
  index?: string;
}

export interface ScaleResult extends Omit<BuildFigures, 'buildSeconds' | 'peakRssMiB'>, MeasureFigures {
  /** Null for an index that was there. */
  buildSeconds: number | null;
  peakRssMiB: number | null;
  /** Of the loaded generation, beside a process without one. */
  bytesPerPost: number;
}

const SCRIPT = fileURLToPath(new URL('scale-index.ts', import.meta.url));
/** Node and the code, before any post. */
const EMPTY_MIB = 75;
/** What the build holds at its peak: the table, and the one it grows out of. */
const BUILD_BYTES_A_POST = 1300;

/** @throws Error where the machine has too little memory for a size. */
export async function benchScale({ sizes, seed, graph, index }: ScaleOptions): Promise<ScaleResult[]> {
  const results: ScaleResult[] = [];
  for (const posts of sizes) {
    const needed = posts * BUILD_BYTES_A_POST;
    if (needed > available()) {
      throw new Error(
        `--posts ${posts} needs about ${Math.ceil(needed / 2 ** 30)} GiB, ${Math.floor(available() / 2 ** 30)} are free`,
      );
    }
    const folder = mkdtempSync(join(tmpdir(), 'feedrank-scale-'));
    try {
      const queries = 'generated' as const;
      const task = { posts, seed, graph, queries, indexDir: join(folder, 'index') };
      const built = await run<BuildFigures>({ ...task, mode: 'build' });
      const measured = await run<MeasureFigures>({ ...task, mode: 'measure' });
      results.push({ ...built, ...measured, bytesPerPost: bytesPerPost(measured) });
      process.stderr.write(`${printScale(results.slice(-1))}\n`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  if (index !== undefined) {
    const task = { posts: 0, seed, graph, queries: 'posts' as const, indexDir: index };
    const measured = await run<MeasureFigures>({ ...task, mode: 'measure' });
    const unknown = { buildSeconds: null, peakRssMiB: null, listsSeconds: null, graphSeconds: null };
    results.push({ ...unknown, ...measured, bytesPerPost: bytesPerPost(measured) });
    process.stderr.write(`${printScale(results.slice(-1))}\n`);
  }
  return results;
}

function bytesPerPost({ rssMiB, posts }: MeasureFigures): number {
  return Math.round(((rssMiB - EMPTY_MIB) * 2 ** 20) / Math.max(1, posts));
}

/** Bytes that can be had without swapping; the page cache counts. */
function available(): number {
  return process.availableMemory?.() ?? freemem();
}

function run<T>(task: ScaleTask): Promise<T> {
  const child = fork(SCRIPT, [JSON.stringify(task)], { execArgv: ['--no-warnings'] });
  return new Promise((resolve, reject) => {
    child.once('message', (figures) => resolve(figures as T));
    child.once('error', reject);
    child.once('exit', (code, signal) =>
      reject(new Error(`${task.posts} posts, ${task.mode}: the process ended with ${signal ?? code}`)),
    );
  });
}

export function printScale(results: readonly ScaleResult[]): string {
  return results
    .flatMap(
      ({ posts, buildSeconds, listsSeconds, loadSeconds, fileMiB, rssMiB, bytesPerPost, searches }) => [
        `${posts.toLocaleString('en')} posts: ${buildSeconds === null ? 'an index of real posts' : `built in ${buildSeconds} s (lists ${listsSeconds})`}, ${fileMiB} MiB on disk, loaded in ${loadSeconds} s, ${rssMiB} MiB resident, ${bytesPerPost} bytes a post`,
        ...searches.map(
          ({ search, ms, recall }) =>
            `  ${search.padEnd(26)} p50 ${ms.p50} p99 ${ms.p99} ms, recall ${recall}`,
        ),
      ],
    )
    .join('\n');
}
