import { describe } from 'vitest';
import { stateStoreContract } from './state-store-contract.ts';

describe('LMDB', () => {
  stateStoreContract(() => ({}));
});
