// What the configuration names in files or as JSON, read and checked at the start.
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ApiConfig, apiConfigSchema } from '../api/api-config.ts';
import { parseRetrievalConfig, type RetrievalConfig } from '../candidates/retrieval-config.ts';
import type { Config } from '../config.ts';
import { messageOf } from '../errors.ts';
import { parseValueWeights, type ValueWeights } from '../ranking/value-model.ts';

export interface Settings {
  retrieval: RetrievalConfig;
  weights: ValueWeights;
  api: ApiConfig;
}

/** Makes the secret of a single machine where none is configured. @throws when a file or a value is not valid. */
export function readSettings(config: Config): Settings {
  return {
    retrieval: parseRetrievalConfig(readJson(config.RETRIEVAL_FILE, 'RETRIEVAL_FILE')),
    weights: parseValueWeights(parseJson(config.VALUE_WEIGHTS, 'VALUE_WEIGHTS'), 'VALUE_WEIGHTS'),
    api: apiConfigSchema.parse({
      slateSize: config.SLATE_SIZE,
      postCacheSize: config.POST_CACHE_POSTS,
      exploreShare: config.EXPLORE_SHARE,
      feedDeadlineMs: config.FEED_DEADLINE_MS,
      sessionTtlMs: config.FEED_SESSION_MS,
      ingestDeadlineMs: config.INGEST_DEADLINE_MS,
      rateLimitPerMinute: config.RATE_LIMIT_PER_MINUTE,
      userRateLimitPerMinute: config.USER_RATE_LIMIT_PER_MINUTE,
      keyRateLimitPerMinute: config.KEY_RATE_LIMIT_PER_MINUTE,
      opsOnLoopback: config.OPS_ON_LOOPBACK,
      headersTimeoutMs: config.HEADERS_TIMEOUT_MS,
      requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
      cursorSecret: config.CURSOR_SECRET ?? keptSecret(config.DATA_DIR),
      trustProxy: config.TRUST_PROXY?.split(',').map((range) => range.trim()) ?? [],
      docs: config.DOCS,
    }),
  };
}

/** The signing key of a single machine: made once, kept beside the embedded stores, readable by the owner only. */
function keptSecret(dataDir: string): string {
  const path = join(dataDir, 'cursor-secret');
  if (!existsSync(path)) writeFileSync(path, randomBytes(32).toString('hex'), { mode: 0o600, flag: 'wx' });
  return readFileSync(path, 'utf8').trim();
}

function readJson(path: string | undefined, key: string): unknown {
  if (path === undefined) return undefined;
  return parseJson(readFileSync(path, 'utf8'), key);
}

function parseJson(text: string | undefined, key: string): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${key}: is not JSON: ${messageOf(error)}`);
  }
}
