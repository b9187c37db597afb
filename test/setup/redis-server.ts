// Finds a Redis server without touching the system and starts it, empty, on a free loopback port.
import { accessSync, constants, copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, inNamespace, type RunningServer, startServer } from './child-process.ts';
import { unpackDebianPackages } from './debian-package.ts';

interface Program {
  file: string;
  origin: string;
  env: Record<string, string>;
}

export interface RedisOptions {
  /** Where it listens; default a free port. */
  port?: number;
  /** A network namespace to run in, and its address to listen on; default: here, on loopback. */
  namespace?: { name: string; address: string };
  /** An RDB file that it starts from; default empty. */
  dump?: string;
  /** Further settings, `['--cluster-enabled', 'yes']`. */
  settings?: readonly string[];
  /** A configuration file's text, where the server has to have one that it can write: Sentinel. */
  file?: string;
}

/** The first of: on the PATH, Debian's package unpacked into `cacheDir`. Rejects with the reason. */
export async function startRedis(cacheDir: string, options: RedisOptions = {}): Promise<RunningServer> {
  const program = await findRedis(cacheDir);
  const port = options.port ?? (await freePort());
  const dir = mkdtempSync(join(tmpdir(), 'feedrank-redis-'));
  if (options.dump) copyFileSync(options.dump, join(dir, 'dump.rdb'));
  const host = options.namespace?.address ?? '127.0.0.1';
  const args = [
    '--port',
    String(port),
    '--bind',
    host,
    '--protected-mode',
    'no',
    '--dir',
    dir,
    '--save',
    '',
    '--appendonly',
    'no',
    ...(options.settings ?? []),
  ];
  if (options.file !== undefined) {
    const file = join(dir, 'redis.conf');
    writeFileSync(file, options.file);
    args.unshift(file);
  }
  const remove = () => rmSync(dir, { recursive: true, force: true });
  try {
    const command = inNamespace(options.namespace?.name, program.file, args);
    const server = await startServer({ ...command, env: program.env, stopSignal: 'SIGTERM' }, () =>
      ping(host, port),
    );
    return {
      url: `redis://${host}:${port}`,
      origin: program.origin,
      pid: server.pid,
      stop: async () => {
        await server.stop();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
  }
}

export function findOnPath(name: string, extraDirs: string[] = []): string | null {
  for (const dir of [...(process.env.PATH ?? '').split(':'), ...extraDirs]) {
    if (dir === '') continue;
    const file = join(dir, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {}
  }
  return null;
}

async function findRedis(cacheDir: string): Promise<Program> {
  for (const name of ['redis-server', 'valkey-server']) {
    const file = findOnPath(name, ['/usr/sbin', '/usr/local/sbin', '/opt/homebrew/bin']);
    if (file) return { file, origin: file, env: {} };
  }
  if (!findOnPath('apt-get') || !findOnPath('dpkg')) {
    throw new Error('no redis-server on the PATH, and this system has no Debian packages');
  }
  const unpacked = await unpackDebianPackages(cacheDir, 'redis', ['redis-server', 'redis-tools']);
  return {
    file: join(unpacked.root, 'usr', 'bin', 'redis-server'),
    origin: "Debian's package, unpacked",
    env: { LD_LIBRARY_PATH: unpacked.libraryPath },
  };
}

function ping(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, host);
    socket.setTimeout(1_000, () => socket.destroy(new Error('no answer')));
    socket.once('error', reject);
    socket.once('connect', () => socket.write('PING\r\n'));
    socket.once('data', (data) => {
      socket.destroy();
      if (data.toString().startsWith('+PONG')) resolve();
      else reject(new Error(data.toString().trim()));
    });
  });
}
