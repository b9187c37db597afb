// Fault 7: a torn, foreign, damaged or shrunken index is published over one that serves, and good ones are swapped while
// readers ask for feeds. A bad one is refused with its reason and the one before serves; no request fails.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type ModelService, startModelService, startReaders, until } from './model-service.ts';

const BAD_INDEXES = {
  torn: (folder: string) => truncateSync(join(folder, 'vectors.f32'), 1000),
  'bit flipped': (folder: string) => flip(join(folder, 'records.bin')),
  foreign: (folder: string) => changeManifest(folder, { tower: 'post-tower@77' }),
  'file missing': (folder: string) => rmSync(join(folder, 'keys.bin')),
  'wrong vectors, checksum made anew': (folder: string) =>
    changeVectors(folder, (vectors) => {
      for (let i = 0; i < vectors.length; i++) vectors[i] *= 3;
    }),
  'no manifest': (folder: string) => rmSync(join(folder, 'manifest.json')),
} as const;

export interface IndexFaultReport {
  refused: { kind: string; reason: string }[];
  swaps: number;
  answers: number;
  failures: string[];
  /** Versions that answered while only one should. */
  strangers: string[];
}

export async function runIndexFaults(swaps: number): Promise<IndexFaultReport> {
  const world = await startModelService();
  const refused: IndexFaultReport['refused'] = [];
  const strangers = new Set<string>();
  try {
    const serving = await served(world, await buildIndex(world));
    const good = [serving, copyIndex(world, serving, 'v20990100T000000000Z-abcdef')];
    const readers = startReaders(world, {
      clients: 2,
      check: ({ index }) => {
        if (!good.includes(index)) strangers.add(index);
        return null;
      },
    });
    for (const [i, [kind, spoil]] of Object.entries(BAD_INDEXES).entries()) {
      const version = `v2099010${i + 1}T000000000Z-abcdef`;
      copyIndex(world, serving, version);
      const folder = join(world.dataDir, 'index', version);
      spoil(folder);
      publishIndex(world, version);
      await until(() => world.service.generations.refused?.version === version);
      refused.push({ kind, reason: world.service.generations.refused?.reason ?? '' });
      rmSync(folder, { recursive: true });
    }
    for (let i = 0; i < swaps; i++) {
      publishIndex(world, good[(i + 1) % 2]);
      await served(world, good[(i + 1) % 2]);
    }
    await readers.stop();
    const { answers, failures } = readers;
    return { refused, swaps, answers, failures, strangers: [...strangers] };
  } finally {
    await world.close();
  }
}

export async function buildIndex(world: ModelService): Promise<string> {
  const argv = ['scripts/build-index.ts', '--data-dir', world.dataDir, '--models-dir', world.modelsDir];
  const { stdout } = await promisify(execFile)(process.execPath, argv);
  const version = /published (\S+):/.exec(stdout)?.[1];
  if (!version) throw new Error(`build-index published nothing: ${stdout}`);
  return version;
}

export function copyIndex(world: ModelService, from: string, version: string): string {
  const folder = join(world.dataDir, 'index', version);
  cpSync(join(world.dataDir, 'index', from), folder, { recursive: true });
  changeManifest(folder, { version });
  return version;
}

export async function served(world: ModelService, version: string): Promise<string> {
  if (!(await until(() => world.service.generations.current.id === version))) {
    throw new Error(`${version} does not serve: ${world.service.generations.refusal}`);
  }
  return version;
}

export function publishIndex(world: ModelService, version: string): void {
  writeFileSync(join(world.dataDir, 'index', 'current'), `${version}\n`);
}

/** Changes a version's vectors and the checksum that its manifest names. */
export function changeVectors(folder: string, change: (vectors: Float32Array) => void): void {
  const path = join(folder, 'vectors.f32');
  const bytes = readFileSync(path);
  change(new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4));
  writeFileSync(path, bytes);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const { files } = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'));
  changeManifest(folder, { files: { ...files, 'vectors.f32': { sha256, bytes: bytes.length } } });
}

export function changeManifest(folder: string, changes: object): void {
  const path = join(folder, 'manifest.json');
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...changes }));
}

function flip(path: string): void {
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1] ^= 4;
  writeFileSync(path, bytes);
}
