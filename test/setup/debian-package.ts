// Unpacks Debian packages into a cache folder: nothing is installed and no root is needed. Used where a server is
// neither on the PATH nor in node_modules.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from './child-process.ts';

export interface UnpackedPackages {
  /** Root of the unpacked tree: `<root>/usr/bin/…`. */
  root: string;
  /** For LD_LIBRARY_PATH. */
  libraryPath: string;
}

/**
 * The packages and, unless told otherwise, the libraries that they depend on, unpacked under `<cacheDir>/<name>`.
 * Rejects with the reason where there is no apt, no network or no such package.
 */
export async function unpackDebianPackages(
  cacheDir: string,
  name: string,
  packages: string[],
  withLibraries = true,
): Promise<UnpackedPackages> {
  const root = join(cacheDir, name);
  if (!existsSync(join(root, 'complete'))) {
    const draft = `${root}.draft-${process.pid}`;
    rmSync(draft, { recursive: true, force: true });
    mkdirSync(draft, { recursive: true });
    try {
      const apt = await aptWithLists(cacheDir, packages[0]);
      const wanted = [...packages, ...(withLibraries ? await librariesOf(apt, packages) : [])];
      await runCommand('apt-get', [...apt, 'download', ...wanted], { cwd: draft, timeoutMs: 120_000 });
      for (const file of readdirSync(draft).filter((entry) => entry.endsWith('.deb'))) {
        await runCommand('dpkg', ['-x', join(draft, file), draft]);
        rmSync(join(draft, file));
      }
      writeFileSync(join(draft, 'complete'), `${wanted.join('\n')}\n`);
      rmSync(root, { recursive: true, force: true });
      renameSync(draft, root);
    } finally {
      rmSync(draft, { recursive: true, force: true });
    }
  }
  const libraryDirs = ['usr/lib', 'lib'].flatMap((dir) => {
    const path = join(root, dir);
    if (!existsSync(path)) return [];
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && entry.name.endsWith('-linux-gnu'))
      .map((entry) => join(path, entry.name));
  });
  return { root, libraryPath: libraryDirs.join(':') };
}

/** Options under which apt knows the package: the system's lists, else lists of our own in the cache folder. */
async function aptWithLists(cacheDir: string, probe: string): Promise<string[]> {
  const quiet = ['-q', '-o', 'APT::Sandbox::User=root'];
  if ((await runCommand('apt-cache', ['policy', probe]).catch(() => '')).includes('Candidate: '))
    return quiet;
  const lists = join(cacheDir, 'apt');
  mkdirSync(join(lists, 'lists', 'partial'), { recursive: true });
  mkdirSync(join(lists, 'archives', 'partial'), { recursive: true });
  const own = [
    ...quiet,
    '-o',
    `Dir::State::Lists=${join(lists, 'lists')}`,
    '-o',
    `Dir::Cache=${lists}`,
    '-o',
    'Debug::NoLocking=1',
  ];
  await runCommand('apt-get', [...own, 'update'], { timeoutMs: 120_000 });
  return own;
}

async function librariesOf(apt: string[], packages: string[]): Promise<string[]> {
  const listing = await runCommand('apt-cache', [...apt.slice(1), 'depends', ...packages]);
  const names = [...listing.matchAll(/^\s+(?:Pre)?Depends: (lib[\w.+-]+)$/gm)].map((match) => match[1]);
  return [...new Set(names)].filter((name) => !/^libc\d/.test(name));
}
