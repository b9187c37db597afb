// The SQL ports of one store, opened once for the file: tests use keys of their own and share it.
import { afterAll, beforeAll, describe } from 'vitest';
import { openSqlStore, type SqlStore } from '../../src/features/store/postgres-store.ts';
import { freshDataFolder } from '../setup/pglite-template.ts';
import { changeFeedContract } from './change-feed-contract.ts';
import { eventStoreContract } from './event-store-contract.ts';
import { feedJobStoreContract } from './feed-job-store-contract.ts';
import { postStoreContract } from './post-store-contract.ts';
import { servingLogContract } from './serving-log-contract.ts';
import { userStoreContract } from './user-store-contract.ts';

export function sqlStoreContract(options: () => Promise<{ databaseUrl?: string }>): void {
  describe('SQL store contract', () => {
    let folder: { path: string; remove(): void } | undefined;
    let store: SqlStore;

    beforeAll(async () => {
      const { databaseUrl } = await options();
      if (databaseUrl) {
        store = await openSqlStore({ dataDir: '', databaseUrl });
        return;
      }
      folder = await freshDataFolder();
      store = await openSqlStore({ dataDir: folder.path });
    });
    afterAll(async () => {
      await store?.close();
      folder?.remove();
    });

    postStoreContract(() => store);
    userStoreContract(() => store);
    eventStoreContract(() => store);
    servingLogContract(() => store);
    changeFeedContract(() => store);
    feedJobStoreContract(() => store);
  });
}
