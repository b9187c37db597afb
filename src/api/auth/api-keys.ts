// The key file: who may call, kept as hashes. `npm run keys` writes it, key-ring.ts reads it. A key carries 256 random
// bits, so that one SHA-256 is enough: there is no dictionary to try against it.
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { FeedrankError } from '../../errors.ts';
import { fieldProblems, idSchema } from '../../features/domain-schema.ts';
import { SCOPES, type Scope } from './scopes.ts';

const SECRET_BYTES = 32;
const KEY = /^frk_([a-z0-9][a-z0-9-]{0,39})_([A-Za-z0-9_-]{43})$/;
const HASH = /^sha256:[A-Za-z0-9_-]{43}$/;

const keyRecordSchema = z.strictObject({
  id: z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/, 'must be 1 to 40 of a-z, 0-9 and -, not starting with -'),
  hash: z.string().regex(HASH, 'must be sha256: and 43 characters of base64url'),
  scopes: z.array(z.enum(SCOPES)).min(1),
  /** Bound to this user; absent = acts for every user. */
  user: idSchema.optional(),
  /** Requests a minute; 0 = no limit; absent = KEY_RATE_LIMIT_PER_MINUTE. */
  rateLimitPerMinute: z.number().int().min(0).max(10_000_000).optional(),
  createdAt: z.iso.datetime(),
  expiresAt: z.iso.datetime().optional(),
  revokedAt: z.iso.datetime().optional(),
  note: z.string().max(200).optional(),
});
export type KeyRecord = z.infer<typeof keyRecordSchema>;

const keyFileSchema = z.strictObject({ keys: z.array(keyRecordSchema) });

/** @throws FeedrankError `invalid_input` naming the field; its text never repeats the file's. */
export function parseKeyFile(text: string): KeyRecord[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new FeedrankError('invalid_input', 'the key file is not JSON');
  }
  const parsed = keyFileSchema.safeParse(value);
  if (!parsed.success) {
    const fields = fieldProblems(parsed.error);
    const [{ field, reason }] = fields;
    throw new FeedrankError('invalid_input', `the key file: ${field}: ${reason}`, { fields });
  }
  const ids = new Set<string>();
  for (const { id } of parsed.data.keys) {
    if (ids.has(id)) throw new FeedrankError('invalid_input', `the key file: two keys are named '${id}'`);
    ids.add(id);
  }
  return parsed.data.keys;
}

export interface NewKey {
  id: string;
  scopes: readonly Scope[];
  user?: string;
  rateLimitPerMinute?: number;
  expiresAt?: string;
  note?: string;
}

/** `text` is what the caller sends; it cannot be had again from the record. */
export function createKey(key: NewKey, now: Date): { text: string; record: KeyRecord } {
  const secret = randomBytes(SECRET_BYTES).toString('base64url');
  const record = { ...key, hash: hashOf(secret), createdAt: now.toISOString() };
  const parsed = keyRecordSchema.safeParse(record);
  if (!parsed.success) {
    const fields = fieldProblems(parsed.error);
    throw new FeedrankError('invalid_input', `${fields[0].field}: ${fields[0].reason}`, { fields });
  }
  return { text: `frk_${key.id}_${secret}`, record: parsed.data };
}

/** null when the text has not the form of a key. */
export function readKey(text: string): { id: string; secret: string } | null {
  const match = KEY.exec(text);
  return match && { id: match[1], secret: match[2] };
}

const NOBODY = hashOf('nobody');

/** Takes as long for an unknown key (`record` undefined) as for a wrong secret. */
export function keyMatches(record: KeyRecord | undefined, secret: string): boolean {
  const same = timingSafeEqual(Buffer.from(hashOf(secret)), Buffer.from(record?.hash ?? NOBODY));
  return same && record !== undefined;
}

function hashOf(secret: string): string {
  return `sha256:${createHash('sha256').update(secret).digest('base64url')}`;
}

export function keyFileText(keys: readonly KeyRecord[]): string {
  return `${JSON.stringify({ keys }, null, 2)}\n`;
}
