// `npm run setup-db`: brings the schema of the database at DATABASE_URL, or of the embedded one, to this version, and on
// PostgreSQL makes what the updater needs: publication, replication slot, a cap on the log that a slot may keep.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { deadlineIn } from '../src/deadline.ts';
import { openSqlStore } from '../src/features/store/postgres-store.ts';
import {
  MAX_KEPT_WAL_MB,
  type ReplicationReport,
  setUpReplication,
} from '../src/features/stream/replication-slot.ts';

const USAGE = `usage: npm run setup-db [-- options]
  --database-url URL  Postgres; default DATABASE_URL, else the embedded database
  --data DIR          folder of the embedded database; default DATA_DIR, else ./data
  --slot NAME         replication slot for the updater; default REPLICATION_SLOT, else feedrank
  --max-wal-mb N      log that slots may keep for an updater that is away, 64 or more (default ${MAX_KEPT_WAL_MB});
                      only where the server has no limit yet
  --no-replication    schema only
  --json FILE         write what was done
  --help`;

const SETUP_MS = 60_000;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      'database-url': { type: 'string' },
      data: { type: 'string' },
      slot: { type: 'string' },
      'max-wal-mb': { type: 'string', default: String(MAX_KEPT_WAL_MB) },
      'no-replication': { type: 'boolean', default: false },
      json: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const slot = values.slot ?? (process.env.REPLICATION_SLOT || 'feedrank');
  if (!/^[a-z0-9_]{1,63}$/.test(slot)) throw new Error(`--slot: expected a–z, 0–9 and _, got '${slot}'`);
  const maxWalMb = Number(values['max-wal-mb']);
  if (!Number.isInteger(maxWalMb) || maxWalMb < 64) {
    throw new Error(`--max-wal-mb: expected a whole number from 64, got '${values['max-wal-mb']}'`);
  }
  const databaseUrl = values['database-url'] ?? (process.env.DATABASE_URL || undefined);
  const dataDir = values.data ?? (process.env.DATA_DIR || 'data');
  const store = await openSqlStore({ databaseUrl, dataDir, attach: true, poolSize: 1 });
  const { kind, migration } = store;
  let replication: ReplicationReport | null = null;
  try {
    if (kind === 'postgres' && !values['no-replication']) {
      replication = await setUpReplication(store.client, slot, maxWalMb, deadlineIn(SETUP_MS));
    }
  } finally {
    await store.close();
  }
  for (const step of migration.applied) console.error(`applied ${step.version}: ${step.name}`);
  for (const warning of replication?.warnings ?? []) console.error(`warning: ${warning}`);
  console.log(`${kind}: schema version ${migration.version}, ${migration.applied.length} steps applied`);
  if (replication) console.log(describe(replication, slot));
  if (values.json) writeFileSync(values.json, `${JSON.stringify({ kind, ...migration, replication })}\n`);
}

function describe({ unavailable, made, maxKeptWalMb }: ReplicationReport, slot: string): string {
  if (unavailable) return `replication: off (${unavailable}); replicas read changes from SQL`;
  const what = made.length > 0 ? `made ${made.join(', ')}` : `slot ${slot} is there`;
  return `replication: ${what}; slots keep ${maxKeptWalMb < 0 ? 'any amount' : `at most ${maxKeptWalMb} MB`} of log`;
}

try {
  await main();
} catch (error) {
  console.error((error instanceof Error ? error.message : String(error)).replace(/\s*\n\s*/g, ' '));
  process.exitCode = 1;
}
