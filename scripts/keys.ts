// `npm run keys -- create|list|revoke`: makes and revokes API keys in the file that API_KEYS_FILE names. A running
// service takes the change over by itself. A key is printed once; the file has only its hash.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createKey, type KeyRecord, keyFileText, parseKeyFile } from '../src/api/auth/api-keys.ts';
import { isScope, SCOPES, type Scope } from '../src/api/auth/scopes.ts';
import {
  type Command,
  type FlagValues,
  integerFlag,
  runCommand,
  textFlag,
  UsageError,
} from './import/command.ts';

const HELP = `
usage: npm run keys -- create --id ID --scopes LIST [flags]
       npm run keys -- list
       npm run keys -- revoke --id ID

  --file FILE           the key file (default: API_KEYS_FILE)
  --id ID               name of the key: a-z, 0-9 and -, at most 40
  --scopes LIST         comma-separated: ${SCOPES.join(', ')}
  --user USER           the key acts for this user only (default: for all users)
  --rate-limit N        requests a minute; 0 = no limit (default: KEY_RATE_LIMIT_PER_MINUTE)
  --expires-days N      the key ends after N days (default: never)
  --note TEXT           what it is for
  --json FILE           the answer to a file
  --help

create prints the key. It is not kept anywhere: who loses it makes another one.
`;

const FLAGS = {
  file: { type: 'string' },
  id: { type: 'string' },
  scopes: { type: 'string' },
  user: { type: 'string' },
  'rate-limit': { type: 'string' },
  'expires-days': { type: 'string' },
  note: { type: 'string' },
} as const;
const DAY_MS = 86_400_000;

const ACTIONS: Record<string, (flags: FlagValues) => object> = { create, list, revoke };

function create(flags: FlagValues): object {
  const path = keyFile(flags);
  const keys = readKeys(path);
  const id = needed(flags, 'id');
  if (keys.some((key) => key.id === id)) throw new Error(`there is a key named '${id}' already`);
  const now = new Date();
  const days = integerFlag(flags, 'expires-days', 0, 1, 36_500);
  const limit = flags['rate-limit'] === undefined ? undefined : integerFlag(flags, 'rate-limit', 0, 0, 1e7);
  const { text, record } = createKey(
    {
      id,
      scopes: scopesOf(needed(flags, 'scopes')),
      user: textFlag(flags, 'user'),
      rateLimitPerMinute: limit,
      expiresAt: days === 0 ? undefined : new Date(now.getTime() + days * DAY_MS).toISOString(),
      note: textFlag(flags, 'note'),
    },
    now,
  );
  writeKeys(path, [...keys, record]);
  process.stderr.write(`${id} is in ${path}. This is the only time its key is shown:\n`);
  return { key: text, ...withoutHash(record) };
}

function list(flags: FlagValues): object {
  return { keys: readKeys(keyFile(flags)).map(withoutHash) };
}

function revoke(flags: FlagValues): object {
  const path = keyFile(flags);
  const keys = readKeys(path);
  const id = needed(flags, 'id');
  const found = keys.find((key) => key.id === id);
  if (!found) throw new Error(`there is no key named '${id}'`);
  const revoked = { ...found, revokedAt: found.revokedAt ?? new Date().toISOString() };
  writeKeys(
    path,
    keys.map((key) => (key === found ? revoked : key)),
  );
  return withoutHash(revoked);
}

function scopesOf(text: string): Scope[] {
  return text.split(',').map((name) => {
    if (!isScope(name)) throw new UsageError(`--scopes: '${name}' is none of ${SCOPES.join(', ')}`);
    return name;
  });
}

function needed(flags: FlagValues, name: string): string {
  const value = textFlag(flags, name);
  if (value === undefined) throw new UsageError(`--${name} is needed`);
  return value;
}

function keyFile(flags: FlagValues): string {
  const path = textFlag(flags, 'file') ?? process.env.API_KEYS_FILE;
  if (!path) throw new UsageError('name the key file by --file or API_KEYS_FILE');
  return path;
}

function readKeys(path: string): KeyRecord[] {
  return existsSync(path) ? parseKeyFile(readFileSync(path, 'utf8')) : [];
}

/** Readable by the owner only; replaced as a whole, so that a service never reads half of it. */
function writeKeys(path: string, keys: readonly KeyRecord[]): void {
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, keyFileText(keys), { mode: 0o600 });
  renameSync(draft, path);
}

function withoutHash({ hash: _, ...shown }: KeyRecord): Omit<KeyRecord, 'hash'> {
  return shown;
}

const [name = '', ...rest] = process.argv.slice(2);
const command: Command = {
  help: HELP,
  flags: FLAGS,
  async run(flags) {
    const action = ACTIONS[name];
    if (!action)
      throw new UsageError(`say create, list or revoke${name.startsWith('-') ? '' : `, not '${name}'`}`);
    return action(flags);
  },
};
if (import.meta.main)
  await runCommand(
    command,
    name in ACTIONS ? rest : process.argv.slice(2).filter((part) => part.startsWith('-')),
  );
