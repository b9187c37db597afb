// A migrated, empty embedded database to copy: making one takes seconds, a copy takes a fraction of one. Kept in
// the cache folder under a hash of what it depends on.
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openSqlStore } from '../../src/features/store/postgres-store.ts';
import { freshFolder } from './test-servers.ts';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** A data folder whose embedded database opens at once. */
export async function freshDataFolder(): Promise<{ path: string; remove(): void }> {
  const template = await pgliteTemplate();
  const folder = freshFolder();
  cpSync(template, folder.path, { recursive: true });
  return folder;
}

async function pgliteTemplate(): Promise<string> {
  const hash = createHash('sha256');
  for (const file of [
    'src/features/store/sql-migrations.ts',
    'src/features/store/sql-schema.ts',
    'src/features/store/postgres-partitions.ts',
    'node_modules/@electric-sql/pglite/package.json',
  ]) {
    hash.update(readFileSync(join(root, file)));
  }
  const template = join(root, '.cache', 'pglite', hash.digest('hex').slice(0, 16));
  if (existsSync(template)) return template;
  const draft = `${template}.draft-${process.pid}`;
  mkdirSync(draft, { recursive: true });
  const store = await openSqlStore({ dataDir: draft });
  await store.close();
  try {
    renameSync(draft, template);
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    // Another process was faster.
    if (!existsSync(template)) throw error;
  }
  return template;
}
