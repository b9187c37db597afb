// Fault 13: a clock that jumps an hour, 500 clients that send a byte a second, and headers without end.

import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { unpackDebianPackages } from '../../../test/setup/debian-package.ts';
import { secondsUntil, sleep } from '../clock.ts';
import { atMost, type Criterion, equals, holds } from '../criterion.ts';
import { between, causesOf, clean, Load } from '../load.ts';
import type { Scenario, ScenarioContext } from '../scenario.ts';
import type { Service } from '../service.ts';
import { inSite, type Site } from '../site.ts';

const SLOW_CLIENTS = 500;
const BOMBS = 200;
const BOMB_BYTES = 4 << 20;
/** A request under way when the clock jumps may see its deadline pass. */
const DEGRADED_PERCENT = 2;
/** Above this one client's headers held memory that they should not. */
const MEMORY_MIB = 150;

export const hostileClients: Scenario = {
  id: 13,
  title: 'Clock ±1 h, 500 clients of a byte a second, header bombs',
  run: (context) =>
    inSite(context, {}, async (site) => {
      const service = await site.startService();
      const load = await Load.open({ base: service.base, users: site.world.users });
      let criteria: Criterion[];
      try {
        criteria = await slowAndLarge(context, { load, service });
      } finally {
        load.close();
        await service.stop();
      }
      return [...criteria, ...(await jumpingClock(context, site))];
    }),
};

async function slowAndLarge(
  context: ScenarioContext,
  { load, service }: { load: Load; service: Service },
): Promise<Criterion[]> {
  const rate = await load.rate(context);
  const beforeMs = context.quick ? 2000 : 12_000;
  // A request must have arrived within 30 s: those that have not by then are cut off.
  const slowMs = context.quick ? 4000 : 45_000;
  const bombMs = context.quick ? 3000 : 12_000;
  const run = load.run(rate, (beforeMs + slowMs + bombMs) / 1000);
  await sleep(beforeMs);
  const slowAt = Date.now();
  const slow = slowClients(service, context.quick ? 100 : SLOW_CLIENTS);
  await sleep(slowMs);
  const open = slow.open();
  slow.end();
  const bombAt = Date.now();
  const memoryBefore = await memoryMiB(service);
  const bombs = await Promise.all(Array.from({ length: BOMBS }, () => headerBomb(service)));
  const memory = (await memoryMiB(service)) - memoryBefore;
  const outcome = await run.outcome;
  const base = between(outcome, 0, slowAt).histograms.feed.at(99) ?? 0;
  const during = between(outcome, slowAt, bombAt);
  const bombed = between(outcome, bombAt, Number.POSITIVE_INFINITY);
  const criteria = [
    ...clean('slow clients: others', during),
    atMost(
      `slow clients: others’ p99, at most twice the ${base.toFixed(1)} ms before`,
      during.histograms.feed.at(99),
      2 * base,
      { unit: 'ms', timed: true },
    ),
    ...clean('header bombs: others', bombed),
    holds(
      'header bombs: refused with 431 or cut off',
      bombs.every((answer) => answer !== 'taken'),
      counted(bombs),
    ),
    atMost('header bombs: memory taken', memory, MEMORY_MIB, { unit: 'MiB', timed: true }),
  ];
  if (!context.quick)
    criteria.push(equals(`slow clients: still open after ${slowMs / 1000} s, of ${slow.count}`, open, 0));
  return criteria;
}

function slowClients(service: Service, count: number): { count: number; open(): number; end(): void } {
  const { hostname, port } = new URL(service.base);
  const text = 'GET /feed/u1?limit=50 HTTP/1.1\r\nhost: x\r\nx-slow: '.padEnd(10_000, 'x');
  const open = new Set<Socket>();
  for (let i = 0; i < count; i++) {
    const socket = connect(Number(port), hostname);
    open.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => open.delete(socket));
    socket.resume();
  }
  let at = 0;
  const timer = setInterval(() => {
    for (const socket of open) socket.write(text[at]);
    at++;
  }, 1000);
  return {
    count,
    open: () => open.size,
    end() {
      clearInterval(timer);
      for (const socket of open) socket.destroy();
    },
  };
}

/** Headers until the service says something or has taken all of them. */
function headerBomb(service: Service): Promise<string> {
  const { hostname, port } = new URL(service.base);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname);
    const end = (what: string) => {
      resolve(what);
      socket.destroy();
    };
    let sent = 0;
    const send = () => {
      while (sent < BOMB_BYTES) {
        const line = `x-bomb-${sent}: ${'x'.repeat(4000)}\r\n`;
        sent += line.length;
        if (!socket.write(line)) return void socket.once('drain', send);
      }
      setTimeout(() => end('taken'), 2000);
    };
    socket.on('connect', () => {
      socket.write('GET /feed/u1 HTTP/1.1\r\nhost: x\r\n');
      send();
    });
    socket.on('data', (data) =>
      end(/^HTTP\/1\.1 (\d+)/.exec(data.toString('latin1'))?.[1] ?? 'another answer'),
    );
    socket.on('error', () => end('cut off'));
    socket.on('close', () => resolve('cut off'));
  });
}

async function memoryMiB(service: Service): Promise<number> {
  const bytes = (await service.metrics()).sum('process_resident_memory_bytes') ?? 0;
  return bytes / 2 ** 20;
}

function counted(values: string[]): string {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return Object.entries(counts)
    .map(([value, count]) => `${value} ×${count}`)
    .join(', ');
}

/** The service's own wall clock jumps (libfaketime); the monotonic one goes on, as in a real step of the clock. */
async function jumpingClock(context: ScenarioContext, site: Site): Promise<Criterion[]> {
  const library = await fakeTime(join(context.cacheDir, 'servers'));
  if (library === null) return [holds('clock: libfaketime', false, 'cannot be had here')];
  const clock = join(site.folder, 'clock');
  writeFileSync(clock, '+0\n');
  const service = await site.startService({
    env: {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: clock,
      // Read again every second: at every look at the clock it would take most of the time.
      FAKETIME_CACHE_DURATION: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      DONT_FAKE_MONOTONIC: '1',
    },
  });
  const load = await Load.open({ base: service.base, users: site.world.users });
  try {
    const rate = context.quick ? await load.rate(context) : 0.5 * (await load.rate(context));
    const stepMs = context.quick ? 3000 : 12_000;
    const run = load.run(rate, 600);
    const criteria: Criterion[] = [];
    for (const [name, offset] of [
      ['+1 h', '+3600'],
      ['−1 h', '-3600'],
      ['right again', '+0'],
    ] as const) {
      await sleep(stepMs);
      writeFileSync(clock, `${offset}\n`);
      const seen = await secondsUntil(async () => {
        const ahead = ((await generatedAt(service)) - Date.now()) / 1000;
        return Math.abs(ahead - Number(offset)) < 60;
      }, 20_000);
      criteria.push(holds(`clock ${name}: the service sees it`, seen !== null, seen === null ? 'no' : 'yes'));
    }
    await sleep(stepMs);
    load.pool.stop();
    const outcome = await run.outcome;
    const all = between(outcome, 0, Number.POSITIVE_INFINITY);
    const { good, short, degraded } = all.counts.feed;
    return [
      ...criteria,
      ...clean('clock', all),
      atMost(
        `clock: degraded of ${good + short + degraded} answers (${causesOf(all)})`,
        (100 * degraded) / Math.max(1, good + short + degraded),
        DEGRADED_PERCENT,
        { unit: '%', timed: true },
      ),
    ];
  } finally {
    load.close();
    await service.stop();
  }
}

async function generatedAt(service: Service): Promise<number> {
  const response = await fetch(`${service.base}/feed/u0?limit=1`);
  return ((await response.json()) as { generatedAt: number }).generatedAt;
}

async function fakeTime(cacheDir: string): Promise<string | null> {
  const name = 'libfaketimeMT.so.1';
  const inFolder = (folder: string) =>
    existsSync(folder)
      ? readdirSync(folder)
          .map((entry) => join(folder, entry, 'faketime', name))
          .find((path) => existsSync(path))
      : undefined;
  const installed = inFolder('/usr/lib');
  if (installed) return installed;
  const unpacked = await unpackDebianPackages(cacheDir, 'faketime', ['libfaketime']).catch(() => null);
  return (unpacked && inFolder(join(unpacked.root, 'usr', 'lib'))) ?? null;
}
