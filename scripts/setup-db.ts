// `npm run setup-db`: brings the schema of the database at DATABASE_URL, or of the embedded one, to this version.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { openSqlStore } from '../src/features/store/postgres-store.ts';

const USAGE = `usage: npm run setup-db [-- options]
  --database-url URL  Postgres; default DATABASE_URL, else the embedded database
  --data DIR          folder of the embedded database; default DATA_DIR, else ./data
  --json FILE         write what was done
  --help`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      'database-url': { type: 'string' },
      data: { type: 'string' },
      json: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const databaseUrl = values['database-url'] ?? (process.env.DATABASE_URL || undefined);
  const dataDir = values.data ?? (process.env.DATA_DIR || 'data');
  const store = await openSqlStore({ databaseUrl, dataDir, attach: true, poolSize: 1 });
  const { kind, migration } = store;
  await store.close();
  for (const step of migration.applied) console.error(`applied ${step.version}: ${step.name}`);
  console.log(`${kind}: schema version ${migration.version}, ${migration.applied.length} steps applied`);
  if (values.json) writeFileSync(values.json, `${JSON.stringify({ kind, ...migration })}\n`);
}

try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
