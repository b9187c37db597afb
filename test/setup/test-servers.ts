// What a test file asks for a real server: its own database or key prefix there, or the reason why there is none.
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { type Deadline, deadlineIn } from '../../src/deadline.ts';

export const DATABASE_URL = process.env.TEST_DATABASE_URL;
export const REDIS_URL = process.env.TEST_REDIS_URL;

/** Title of a suite that needs the server: says why when it is skipped. */
export function titleOf(title: string, url: string | undefined, prefix: string): string {
  if (url) return title;
  return `${title} (skipped: ${process.env[`${prefix}_SKIP`] ?? `${prefix}_URL is not set; npm test sets it`})`;
}

/** A new, empty database on the test server. */
export async function freshDatabase(): Promise<{ url: string; drop(): Promise<void> }> {
  if (!DATABASE_URL) throw new Error('no test server');
  const name = `feedrank_${randomUUID().replaceAll('-', '')}`;
  await administer(`create database ${name}`);
  const url = new URL(DATABASE_URL);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => administer(`drop database ${name} with (force)`) };
}

export function freshFolder(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'feedrank-store-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

export function freshPrefix(): string {
  return `test-${randomUUID()}:`;
}

export function soon(): Deadline {
  return deadlineIn(20_000);
}

/** Distinct in every call, so that tests share a store without meeting. */
export function unique(name: string): string {
  return `${name}-${randomUUID().slice(0, 8)}`;
}

export async function collect<T>(batches: AsyncIterable<T[]>): Promise<T[]> {
  const all: T[] = [];
  for await (const batch of batches) all.push(...batch);
  return all;
}

async function administer(sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: DATABASE_URL });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
