import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { openSqlStore } from '../../../src/features/store/postgres-store.ts';
import { openStateStore } from '../../../src/features/store/state-store.ts';
import { freshDataFolder } from '../../setup/pglite-template.ts';
import { collect, freshFolder, soon } from '../../setup/test-servers.ts';

const PROGRAM = fileURLToPath(new URL('./store-process.ts', import.meta.url));
const children: ChildProcess[] = [];
const folders: { remove(): void }[] = [];

interface Line {
  [key: string]: unknown;
}

async function folder(): Promise<string> {
  const made = await freshDataFolder();
  folders.push(made);
  return made.path;
}

/** Runs store-process.ts; `lines` holds what it said. */
function start(...args: string[]) {
  return run(process.execPath, [PROGRAM, ...args]);
}

/** The same on a disk of its own of `size`, mounted over `dataDir` in a namespace that only the child sees. */
function startOnSmallDisk(size: string, task: string, dataDir: string, contents: string) {
  const script = 'mount -t tmpfs -o size="$1" tmpfs "$2" && cp -r "$3"/. "$2"/ && exec "$4" "$5" "$6" "$2"';
  const args = [size, dataDir, contents, process.execPath, PROGRAM, task];
  return run('unshare', ['-rm', 'sh', '-c', script, 'sh', ...args]);
}

function run(file: string, args: string[]) {
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const lines: Line[] = [];
  const waiting: ((line: Line) => void)[] = [];
  createInterface({ input: child.stdout! }).on('line', (text) => {
    const line = JSON.parse(text) as Line;
    lines.push(line);
    for (const resolve of waiting.splice(0)) resolve(line);
  });
  return {
    child,
    lines,
    next: () => new Promise<Line>((resolve) => waiting.push(resolve)),
    ended: new Promise<void>((resolve) => child.on('exit', () => resolve())),
  };
}

const canMount = spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0;
const onSmallDisk = canMount ? '' : ' (skipped: this system gives no mount namespace)';

vi.setConfig({ testTimeout: 120_000 });

afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }
  for (const made of folders.splice(0)) made.remove();
});

describe('embedded SQL store', () => {
  it('refuses a second opener, naming the owner, in this process and from another', async () => {
    const dataDir = await folder();
    const store = await openSqlStore({ dataDir });
    await expect(openSqlStore({ dataDir })).rejects.toMatchObject({
      code: 'locked',
      message: expect.stringContaining(`process ${process.pid}`),
    });
    const other = start('own', dataDir);
    expect(await other.next()).toMatchObject({
      code: 'locked',
      message: expect.stringContaining(`process ${process.pid}`),
    });
    await store.ping(soon());
    await store.close();
    const again = await openSqlStore({ dataDir });
    await again.close();
  });

  it('lets scripts work on the owner’s database through its socket, at the same time', async () => {
    const dataDir = await folder();
    const store = await openSqlStore({ dataDir });
    const scripts = ['a', 'b'].map((name) => start('attach', dataDir, name));
    const said = scripts.map((script) => script.next());
    let own = 0;
    let running = true;
    void Promise.all(said).then(() => {
      running = false;
    });
    while (running) {
      await store.putPosts([{ id: `own-${own++}`, authorId: 'me', createdAt: 1 }], soon());
    }
    expect(await Promise.all(said)).toEqual([{ done: true }, { done: true }]);
    expect(own).toBeGreaterThan(1);
    const posts = await collect(store.scanPosts(5_000));
    expect(posts).toHaveLength(own + 2 * 6_020);
    await store.close();
  });

  it('holds every acknowledged post after its process was killed, and opens without help', async () => {
    const dataDir = await folder();
    const writer = start('append-for-ever', dataDir);
    while (writer.lines.length < 30) await writer.next();
    writer.child.kill('SIGKILL');
    await writer.ended;
    const acknowledged = Number(writer.lines.at(-1)?.stored);
    const store = await openSqlStore({ dataDir });
    const found = await store.getPosts(
      Array.from({ length: acknowledged + 1 }, (_, i) => `p${i}`),
      soon(),
    );
    expect(found.filter((post) => post === null)).toEqual([]);
    await store.close();
  });

  it('is taken over from a dead owner by exactly one of several processes', async () => {
    const dataDir = await folder();
    const first = start('own', dataDir);
    await first.next();
    first.child.kill('SIGKILL');
    await first.ended;
    const rivals = Array.from({ length: 4 }, () => start('own', dataDir));
    const said = await Promise.all(rivals.map((rival) => rival.next()));
    expect(said.filter((line) => 'owner' in line)).toHaveLength(1);
    expect(said.filter((line) => line.code === 'locked')).toHaveLength(3);
  });

  it('opens past a claim that is no claim', async () => {
    const dataDir = await folder();
    const store = await openSqlStore({ dataDir });
    await store.close();
    writeFileSync(join(dataDir, 'pglite', 'owner.lock.99'), 'not JSON');
    const again = await openSqlStore({ dataDir });
    const claims = readdirSync(join(dataDir, 'pglite')).filter((name) => name.startsWith('owner.lock'));
    expect(claims).toEqual(['owner.lock.100']);
    await again.close();
  });

  it.skipIf(!canMount)(`says \`storage_full\` on a full disk${onSmallDisk}`, async () => {
    const [disk, contents] = [await folder(), await folder()];
    const filler = startOnSmallDisk('80m', 'fill', disk, contents);
    expect(await filler.next()).toEqual({ open: true });
    expect(await filler.next()).toMatchObject({ code: 'storage_full' });
  });

  it('answers with `unavailable` after it was closed', async () => {
    const store = await openSqlStore({ dataDir: await folder() });
    await store.close();
    await store.close();
    await expect(store.getPosts(['x'], soon())).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('embedded state store', () => {
  it.skipIf(!canMount)(`says \`storage_full\` on a full disk${onSmallDisk}`, async () => {
    const [disk, contents] = [freshFolder(), freshFolder()];
    folders.push(disk, contents);
    const filler = startOnSmallDisk('20m', 'fill-state', disk.path, contents.path);
    expect(await filler.next()).toEqual({ open: true });
    expect(await filler.next()).toMatchObject({ code: 'storage_full' });
  });

  it('is written by several processes at once without losing a patch', async () => {
    const dataDir = await folder();
    const store = await openStateStore({ dataDir });
    const writers = ['a', 'b'].map((name) => start('lmdb', dataDir, name));
    expect(await Promise.all(writers.map((writer) => writer.next()))).toEqual([
      { done: true },
      { done: true },
    ]);
    expect((await store.getState('shared', 't', soon()))?.seen).toHaveLength(2 * 100);
    await store.close();
  });
});
