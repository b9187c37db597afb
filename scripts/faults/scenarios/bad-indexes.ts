// Fault 7: indexes that are torn, foreign or changed by a bit are published; good ones are swapped in under load.
import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { secondsUntil, sleep } from '../clock.ts';
import { atLeast, type Criterion, equals, holds } from '../criterion.ts';
import { changeManifest, publishCopy } from '../index-copies.ts';
import { between, clean, Load } from '../load.ts';
import type { Scenario } from '../scenario.ts';
import type { Service } from '../service.ts';
import { inSite } from '../site.ts';

interface BadIndex {
  name: string;
  /** Changes a copy of a good version. */
  spoil(folder: string): void;
}

const flipBit = (path: string) => {
  const bytes = readFileSync(path);
  bytes[Math.floor(bytes.length / 2)] ^= 8;
  writeFileSync(path, bytes);
};

const BAD: readonly BadIndex[] = [
  {
    name: 'vectors cut off',
    spoil: (folder) => {
      const path = join(folder, 'vectors.f32');
      truncateSync(path, readFileSync(path).length - 100);
    },
  },
  { name: 'a file missing', spoil: (folder) => rmSync(join(folder, 'keys.bin')) },
  { name: 'no manifest', spoil: (folder) => rmSync(join(folder, 'manifest.json')) },
  { name: 'manifest torn', spoil: (folder) => truncateSync(join(folder, 'manifest.json'), 200) },
  { name: 'a bit of the vectors', spoil: (folder) => flipBit(join(folder, 'vectors.f32')) },
  { name: 'a bit of the records', spoil: (folder) => flipBit(join(folder, 'records.bin')) },
  { name: 'a bit of the keys', spoil: (folder) => flipBit(join(folder, 'keys.bin')) },
  {
    name: 'another tower',
    spoil: (folder) => changeManifest(folder, (manifest) => ({ ...manifest, tower: 'post-tower@9999' })),
  },
  {
    name: 'another format',
    spoil: (folder) => changeManifest(folder, (manifest) => ({ ...manifest, format: 9999 })),
  },
  {
    name: 'random bytes for authors',
    spoil: (folder) => writeFileSync(join(folder, 'authors.bin'), randomBytes(1000)),
  },
];

const SWAPS = 6;
const QUICK_SWAPS = 2;
const REFUSAL_MS = 15_000;
const SWAP_MS = 30_000;

export const badIndexes: Scenario = {
  id: 7,
  title: 'Index torn, foreign, bit-flipped; index swapped under load',
  run: (context) =>
    inSite(context, {}, async (site) => {
      const data = join(site.folder, 'served');
      const service = await site.startService({ data });
      const good = (await service.health()).index.generation;
      const load = await Load.open({ base: service.base, users: site.world.users });
      site.defer(() => load.close());
      const rate = await load.rate(context);
      const run = load.run(rate, 600);
      await sleep(1000);
      const published = Date.now();
      const indexDir = join(data, 'index');
      const criteria: Criterion[] = [];
      for (const { name, spoil } of BAD) {
        const reason = await refused(service, { indexDir, good, spoil });
        const { generation } = (await service.health()).index;
        criteria.push(
          holds(
            `${name}: refused with a reason, the old one serves`,
            reason !== null && generation === good,
            reason ?? 'not refused',
          ),
        );
      }
      const swaps = context.quick ? QUICK_SWAPS : SWAPS;
      let swapped = 0;
      for (let i = 0; i < swaps; i++) if (await swap(service, indexDir, good)) swapped++;
      await sleep(1000);
      load.pool.stop();
      const all = between(await run.outcome, published, Number.POSITIVE_INFINITY);
      return [
        ...criteria,
        atLeast(`swaps to a good version, of ${swaps}`, swapped, swaps),
        ...clean(`${BAD.length} bad and ${swaps} good versions under load`, all),
        equals('refused', all.sum('refused'), 0),
      ];
    }),
};

/** What /health/ready says of the version; null when it says nothing. */
async function refused(
  service: Service,
  { indexDir, good, spoil }: { indexDir: string; good: string; spoil: (folder: string) => void },
): Promise<string | null> {
  const version = await publishCopy(indexDir, good, spoil);
  let reason: string | undefined;
  await secondsUntil(async () => {
    reason = (await service.health()).degraded.find((one) => one.includes(version));
    return reason !== undefined;
  }, REFUSAL_MS);
  return reason?.replaceAll(version, 'the version') ?? null;
}

async function swap(service: Service, indexDir: string, good: string): Promise<boolean> {
  const version = await publishCopy(indexDir, good);
  return (
    (await secondsUntil(async () => (await service.health()).index.generation === version, SWAP_MS)) !== null
  );
}
