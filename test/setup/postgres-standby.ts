// A streaming standby of a test server: its data folder copied while it runs, then started as a replica of it.
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { RunningServer } from './child-process.ts';
import { startPostgres } from './postgres-server.ts';

/** @param settings on top of what makes it a standby, for example `recovery_min_apply_delay=500ms` */
export async function startStandby(
  cacheDir: string,
  primaryUrl: string,
  settings: string[] = [],
): Promise<RunningServer> {
  const folder = mkdtempSync(join(tmpdir(), 'feedrank-standby-'));
  chmodSync(folder, 0o755);
  const data = join(folder, 'data');
  const remove = () => rmSync(folder, { recursive: true, force: true });
  const client = new pg.Client({ connectionString: primaryUrl });
  try {
    await client.connect();
    const { rows } = await client.query<{ data_directory: string }>('show data_directory');
    const source = rows[0].data_directory;
    await client.query(`select pg_backup_start('standby', true)`);
    cpSync(source, data, { recursive: true, filter: (path) => !path.endsWith('postmaster.pid') });
    const stopped = await client.query<{ labelfile: string }>('select labelfile from pg_backup_stop(false)');
    // The log that the backup needs comes over the connection.
    writeFileSync(join(data, 'backup_label'), stopped.rows[0].labelfile);
    writeFileSync(join(data, 'standby.signal'), '');
    own(data, statSync(source));
    const { hostname, port, username } = new URL(primaryUrl);
    const server = await startPostgres(cacheDir, {
      data,
      settings: [
        `primary_conninfo=host=${hostname} port=${port} user=${username}`,
        'hot_standby=on',
        ...settings,
      ],
    });
    return {
      ...server,
      stop: async () => {
        await server.stop();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
  } finally {
    await client.end().catch(() => {});
  }
}

function own(path: string, { uid, gid }: { uid: number; gid: number }): void {
  chownSync(path, uid, gid);
  const stat = statSync(path);
  if (!stat.isDirectory()) return;
  chmodSync(path, 0o700);
  for (const name of readdirSync(path)) own(join(path, name), { uid, gid });
}
