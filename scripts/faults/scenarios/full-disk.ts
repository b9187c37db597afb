// Fault 4: the disk under PostgreSQL, and the one under the embedded stores, is full. Needs root, for a small tmpfs.
import { mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCommand } from '../../../test/setup/child-process.ts';
import { secondsUntil, sleep } from '../clock.ts';
import { atMost, type Criterion, holds } from '../criterion.ts';
import { between, clean, Load } from '../load.ts';
import { Impossible, type Scenario, type ScenarioContext } from '../scenario.ts';
import type { Service } from '../service.ts';
import { inSite } from '../site.ts';

const DISK_MIB = 400;
const LOAD_RATE = 12;
/** What is written while the disk is full: enough to need new pages. */
const POSTS_A_BATCH = 200;
const WORDS_A_POST = 200;

export const fullDisk: Scenario = {
  id: 4,
  title: 'Disk full under PostgreSQL, and under the embedded stores',
  async run(context) {
    if (process.getuid?.() !== 0) throw new Impossible('a small file system needs root');
    return [...(await underPostgres(context)), ...(await underEmbedded(context))];
  },
};

interface Disk {
  folder: string;
  remove(): Promise<void>;
}

async function smallDisk(): Promise<Disk> {
  const folder = mkdtempSync(join(tmpdir(), 'feedrank-disk-'));
  await runCommand('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MIB}m,mode=755`, 'tmpfs', folder]).catch(
    (error: Error) => {
      throw new Impossible(`no small file system can be mounted: ${error.message}`);
    },
  );
  return {
    folder,
    async remove() {
      await runCommand('umount', ['-l', folder]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Leaves no free block. */
async function fill(folder: string): Promise<() => void> {
  const path = join(folder, 'filler');
  const file = await open(path, 'w');
  try {
    for (const size of [1 << 20, 4096]) {
      const chunk = Buffer.alloc(size);
      while (statfsSync(folder).bavail > 0) await file.write(chunk);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  } finally {
    await file.close();
  }
  return () => rmSync(path);
}

async function underPostgres(context: ScenarioContext): Promise<Criterion[]> {
  const disk = await smallDisk();
  try {
    return await inSite({ ...context, quick: true }, { postgresFolder: disk.folder }, async (site) => {
      const service = await site.startService({ env: { INGEST_DEADLINE_MS: '3000' } });
      return measure(
        context,
        { name: 'PostgreSQL', service, users: site.world.users, folder: disk.folder },
        () =>
          // A cluster that could not write its log ends; whoever runs it starts it again.
          site.postgres.restartIfEnded(),
      );
    });
  } finally {
    await disk.remove();
  }
}

async function underEmbedded(context: ScenarioContext): Promise<Criterion[]> {
  const disk = await smallDisk();
  try {
    return await inSite({ ...context, quick: true }, {}, async (site) => {
      const data = join(disk.folder, 'data');
      mkdirSync(data);
      const env = { DATABASE_URL: '', REDIS_URL: '' };
      const service = await site.startService({ data, index: false, env });
      await write(service, 'seed', POSTS_A_BATCH);
      return measure(context, { name: 'embedded', service, users: site.world.users, folder: disk.folder });
    });
  } finally {
    await disk.remove();
  }
}

async function measure(
  { quick }: ScenarioContext,
  place: { name: string; service: Service; users: number; folder: string },
  repair: () => Promise<void> = async () => {},
): Promise<Criterion[]> {
  const { name, service, users, folder } = place;
  const load = await Load.open({ base: service.base, users });
  try {
    const seconds = quick ? 8 : 25;
    const run = load.run(LOAD_RATE, seconds + 4);
    await sleep(2000);
    const free = await fill(folder);
    const fullAt = Date.now();
    const answers: Record<string, number> = {};
    for (let batch = 0; Date.now() - fullAt < seconds * 1000 - 3000; batch++) {
      const answer = await write(service, `full-${batch}`, POSTS_A_BATCH);
      answers[answer] = (answers[answer] ?? 0) + 1;
      await sleep(100);
    }
    const outcome = await run.outcome;
    const alive = service.alive;
    free();
    await repair();
    const back = await secondsUntil(async () => (await write(service, 'after', 5)).startsWith('200'), 30_000);
    const said = Object.keys(answers);
    return [
      holds(
        `${name}: ingestion says so`,
        said.some((answer) => /^(507|503) /.test(answer)) &&
          said.every((answer) => /^(200|207|503|504|507) /.test(answer)),
        Object.entries(answers)
          .map(([answer, count]) => `${answer} ×${count}`)
          .join(', '),
      ),
      holds(`${name}: the process lives`, alive, alive ? 'yes' : `no: ${service.lastLine()}`),
      ...clean(`${name}: feeds`, between(outcome, fullAt, Number.POSITIVE_INFINITY)),
      atMost(`${name}: writes go on after room was made`, back, 15, { unit: 's', timed: true }),
    ];
  } finally {
    load.close();
  }
}

let batches = 0;

/** `status code` of the answer. */
async function write(service: Service, name: string, count: number): Promise<string> {
  const posts = Array.from({ length: count }, (_, i) => ({
    id: `disk-${name}-${batches++}-${i}`,
    authorId: `author-${i}`,
    createdAt: Date.now(),
    // No two alike: near-duplicates would be left out of the feeds.
    text: Array.from({ length: WORDS_A_POST }, () => Math.random().toString(36).slice(2, 9)).join(' '),
    language: 'en',
  }));
  try {
    const response = await fetch(`${service.base}/posts`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ posts }),
      signal: AbortSignal.timeout(15_000),
    });
    const { code = 'ok' } = (await response.json()) as { code?: string };
    return `${response.status} ${code}`;
  } catch (error) {
    return `none ${(error as Error).name}`;
  }
}
