// Imports posts, users, edges and events of a known format into the SQL store; a second run changes nothing.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readConfig } from '../src/config.ts';
import { openSqlStore } from '../src/features/store/postgres-store.ts';
import {
  type Command,
  type FlagValues,
  integerFlag,
  runCommand,
  textFlag,
  UsageError,
} from './import/command.ts';
import { ebnerd } from './import/ebnerd.ts';
import type { ImportFormat } from './import/format.ts';
import { globo } from './import/globo.ts';
import { importFolder } from './import/import-folder.ts';
import { jsonl } from './import/jsonl.ts';
import { kuairand } from './import/kuairand.ts';
import { movielens } from './import/movielens.ts';
import { startProgress } from './import/progress.ts';
import { reddit } from './import/reddit.ts';

export const FORMATS: Record<string, ImportFormat & { anyFile?: true }> = {
  reddit,
  kuairand,
  globo,
  ebnerd,
  movielens,
  jsonl,
};

const HELP = `
npm run import -- --format ${Object.keys(FORMATS).join('|')} --path DIR [flags]

Reads a folder into the store (DATABASE_URL, else the embedded database in the data folder). Streams; memory does not
grow with the input. Ids are the key: a second run of the same files changes nothing. docs/DATA-FORMAT.md describes jsonl.

  --format NAME       ${Object.entries(FORMATS)
    .map(([name, { files }]) => `${name}: ${files.join(', ')}`)
    .join('\n                      ')}
  --path DIR          folder with the files
  --data-dir DIR      embedded database (default: DATA_DIR or ./data)
  --limit N           at most N rows of each file
  --rejects FILE      rows that were left out, one JSON object a line: {file, row, field, reason}
                      (default: rejects-FORMAT.jsonl in the current folder; written only when there are any)
  --detect-language   fill in absent languages from the text (default for jsonl)
  --keep-language     leave absent languages absent
  --json FILE         write the figures to a file instead of stdout
  --help`;

export const importCommand: Command = {
  help: HELP,
  flags: {
    format: { type: 'string' },
    path: { type: 'string' },
    'data-dir': { type: 'string' },
    limit: { type: 'string' },
    rejects: { type: 'string' },
    'detect-language': { type: 'boolean' },
    'keep-language': { type: 'boolean' },
  },
  run: importFromFlags,
};

async function importFromFlags(flags: FlagValues): Promise<object> {
  const name = textFlag(flags, 'format') ?? '';
  const format = Object.hasOwn(FORMATS, name) ? FORMATS[name] : undefined;
  if (!format)
    throw new UsageError(`--format must be one of ${Object.keys(FORMATS).join(', ')}, not "${name}"`);
  const dir = textFlag(flags, 'path');
  if (!dir) throw new UsageError('--path is required');
  checkFiles(format, dir);
  if (flags['detect-language'] && flags['keep-language']) {
    throw new UsageError('--detect-language and --keep-language exclude each other');
  }
  const limit = integerFlag(flags, 'limit', Number.MAX_SAFE_INTEGER, 1, Number.MAX_SAFE_INTEGER);
  const rejectsPath = textFlag(flags, 'rejects') ?? `rejects-${name}.jsonl`;
  const config = readConfig();
  const dataDir = textFlag(flags, 'data-dir') ?? config.DATA_DIR;
  const store = await openSqlStore({ databaseUrl: config.DATABASE_URL, dataDir, attach: true });
  const startedAt = performance.now();
  try {
    const progress = startProgress(`import ${name}`);
    const figures = await importFolder(store, {
      format,
      dir,
      limit,
      detectLanguage: flags['detect-language'] ? true : flags['keep-language'] ? false : undefined,
      rejectsPath,
      onProgress: progress.update,
    });
    progress.stop();
    const seconds = (performance.now() - startedAt) / 1_000;
    return {
      format: name,
      store: store.kind,
      ...figures,
      seconds: Number(seconds.toFixed(1)),
      rowsPerSecond: Math.round(figures.rows / seconds),
      peakRssMb: Math.round(process.resourceUsage().maxRSS / 1024),
    };
  } finally {
    await store.close();
  }
}

function checkFiles(format: ImportFormat & { anyFile?: true }, dir: string): void {
  if (!existsSync(dir)) throw new UsageError(`--path ${dir}: no such folder`);
  const missing = format.files.filter((file) => !existsSync(join(dir, file)));
  if (format.anyFile ? missing.length === format.files.length : missing.length > 0) {
    throw new UsageError(`${dir} lacks ${missing.join(', ')}`);
  }
}

if (import.meta.main) await runCommand(importCommand);
