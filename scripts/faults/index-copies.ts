// Publishes copies of a good index version under new names, as a build would. Called by the scenarios that swap.
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { listVersions, newVersion } from '../../src/candidates/index/artifact.ts';
import { replaceFile } from '../../src/candidates/index/artifact-files.ts';

export type IndexManifest = Record<string, unknown>;

/** Returns the version that `current` then names; `spoil` may damage its folder before that. */
export async function publishCopy(
  indexDir: string,
  good: string,
  spoil: (folder: string) => void = () => {},
): Promise<string> {
  const version = newVersion();
  const folder = join(indexDir, version);
  cpSync(join(indexDir, good), folder, { recursive: true });
  changeManifest(folder, (manifest) => ({ ...manifest, version }));
  spoil(folder);
  await replaceFile(join(indexDir, 'current'), `${version}\n`);
  return version;
}

export function changeManifest(folder: string, change: (manifest: IndexManifest) => IndexManifest): void {
  const path = join(folder, 'manifest.json');
  writeFileSync(path, JSON.stringify(change(JSON.parse(readFileSync(path, 'utf8')) as IndexManifest)));
}

/** Removes all copies but the newest two. */
export async function removeOldCopies(indexDir: string, good: string): Promise<void> {
  const old = (await listVersions(indexDir)).filter((name) => name !== good).slice(0, -2);
  for (const name of old) rmSync(join(indexDir, name), { recursive: true, force: true });
}
