// The five SQL ports of one store, opened once for the file: tests use keys of their own and share it.
import { afterAll, beforeAll, describe } from 'vitest';
import {
  openSqlStore,
  type SqlStore,
  type SqlStoreOptions,
} from '../../src/features/store/postgres-store.ts';
import { freshFolder } from '../setup/test-servers.ts';
import { changeFeedContract } from './change-feed-contract.ts';
import { eventStoreContract } from './event-store-contract.ts';
import { postStoreContract } from './post-store-contract.ts';
import { servingLogContract } from './serving-log-contract.ts';
import { userStoreContract } from './user-store-contract.ts';

export function sqlStoreContract(options: () => Promise<Partial<SqlStoreOptions>>): void {
  describe('SQL store contract', () => {
    const folder = freshFolder();
    let store: SqlStore;

    beforeAll(async () => {
      store = await openSqlStore({ dataDir: folder.path, ...(await options()) });
    });
    afterAll(async () => {
      await store?.close();
      folder.remove();
    });

    postStoreContract(() => store);
    userStoreContract(() => store);
    eventStoreContract(() => store);
    servingLogContract(() => store);
    changeFeedContract(() => store);
  });
}
