import { afterAll, describe } from 'vitest';
import { DATABASE_URL, freshDatabase, titleOf } from '../setup/test-servers.ts';
import { sqlStoreContract } from './sql-store-contract.ts';

describe.skipIf(!DATABASE_URL)(titleOf('Postgres', DATABASE_URL, 'TEST_DATABASE'), () => {
  let drop: (() => Promise<void>) | undefined;
  afterAll(() => drop?.());

  sqlStoreContract(async () => {
    const database = await freshDatabase();
    drop = database.drop;
    return { databaseUrl: database.url };
  });
});
