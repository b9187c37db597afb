import { describe } from 'vitest';
import { freshPrefix, REDIS_URL, titleOf } from '../setup/test-servers.ts';
import { stateStoreContract } from './state-store-contract.ts';

describe.skipIf(!REDIS_URL)(titleOf('Redis', REDIS_URL, 'TEST_REDIS'), () => {
  const keyPrefix = freshPrefix();
  stateStoreContract(() => ({ redis: { url: REDIS_URL as string }, keyPrefix }));
});
