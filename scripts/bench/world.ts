// Generated worlds for the benchmarks, built once each and kept.
import {
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { readConfig } from '../../src/config.ts';
import { buildWorld } from '../demo/build-world.ts';
import { generateWorld } from '../generate/world.ts';

export interface BenchWorld {
  posts: number;
  users: number;
  seed: number;
  /** Worlds are kept here. */
  cacheDir: string;
  /** Breadth of the graph's insertion. */
  efConstruction: number;
  /** `ivf` builds no graph. Default all. */
  search?: 'auto' | 'ivf';
}

/** The data folder of a world, built where it is not there yet. */
export async function benchWorld({
  posts,
  users,
  seed,
  cacheDir,
  efConstruction,
  search = 'auto',
}: BenchWorld): Promise<string> {
  const suffix = search === 'auto' ? '' : `-${search}`;
  const dataDir = join(cacheDir, `world-${posts}-${users}-${seed}${suffix}`);
  const done = join(dataDir, 'built.json');
  if (!existsSync(done)) {
    rmSync(dataDir, { recursive: true, force: true });
    mkdirSync(dataDir, { recursive: true });
    const world = generateWorld({ posts, users, seed, now: Date.now() });
    const modelsDir = readConfig().MODELS_DIR;
    const manifest = await buildWorld(world, { dataDir, modelsDir, efConstruction, search });
    writeFileSync(done, JSON.stringify(manifest.search));
  }
  console.error(`bench: ${posts} posts, search ${readFileSync(done, 'utf8')}`);
  return dataDir;
}

export interface WorldCopy {
  dataDir: string;
  remove(): void;
}

/**
 * A world for one service to run on. Serving changes it: what readers were shown fills their state (with 1000 seen posts
 * each the search is widened for half of the requests) and the serving log, and the next run would measure that.
 * The index is not copied, nothing is built.
 */
export function copyWorld(dataDir: string): WorldCopy {
  const copy = mkdtempSync(`${dataDir}-run-`);
  for (const name of readdirSync(dataDir)) {
    const [from, to] = [resolve(dataDir, name), join(copy, name)];
    if (name === 'index') symlinkSync(from, to);
    else cpSync(from, to, { recursive: true, mode: constants.COPYFILE_FICLONE });
  }
  return { dataDir: copy, remove: () => rmSync(copy, { recursive: true, force: true }) };
}
