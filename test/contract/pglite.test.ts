import { describe } from 'vitest';
import { sqlStoreContract } from './sql-store-contract.ts';

describe('PGlite', () => {
  sqlStoreContract(async () => ({}));
});
