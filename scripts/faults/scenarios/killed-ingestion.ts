// Fault 3: the API killed without warning, again and again, while it takes writes.
import { sleep } from '../clock.ts';
import { atLeast, type Criterion, equals } from '../criterion.ts';
import { IngestClient, storedIds } from '../ingest-client.ts';
import type { Scenario } from '../scenario.ts';
import { inSite } from '../site.ts';

const KILLS = 100;
const QUICK_KILLS = 10;
/** A killed one takes writes for up to so long first. */
const ALIVE_MS = 1500;
const BATCHES_A_SECOND = 25;

export const killedIngestion: Scenario = {
  id: 3,
  title: 'API killed −9 during ingestion, 100 times',
  run: (context) =>
    // A small world starts fast; what is asked here does not depend on its size.
    inSite({ ...context, quick: true }, {}, async (site) => {
      const kills = context.quick ? QUICK_KILLS : KILLS;
      const service = await site.service({ env: { FEED_WORKERS: '1' } });
      const client = new IngestClient({
        base: service.base,
        users: site.world.users,
        posts: site.world.posts,
        batchesPerSecond: BATCHES_A_SECOND,
        timeoutMs: 5000,
      });
      let duringWrites = 0;
      for (let kill = 0; kill < kills; kill++) {
        await service.start();
        const before = client.acked.size;
        client.start();
        await sleep(200 + Math.random() * ALIVE_MS);
        await service.kill();
        await client.pause();
        if (client.acked.size > before) duringWrites++;
        if (kill % 10 === 9) context.note(`${kill + 1} kills, ${client.acked.size} acknowledged`);
      }
      await service.start();
      const unsettled = await client.settle(30_000);
      const stored = await storedIds(client, (text, values) => site.postgres.query(text, values));
      const lost = [...client.acked].filter((id) => !stored.ids.has(id)).length;
      const criteria: Criterion[] = [
        atLeast(`kills while writes were under way, of ${kills}`, duringWrites, Math.floor(kills * 0.9)),
        equals(`acknowledged and lost, of ${client.acked.size}`, lost, 0),
        equals('stored twice', stored.rows - stored.ids.size, 0),
        equals('batches that are not acknowledged when repeated', unsettled, 0),
      ];
      return criteria;
    }),
};
