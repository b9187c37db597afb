// What a slate that could not be made leaves behind.
import { describe, expect, it } from 'vitest';
import type { KnownReader, SlateRequest } from '../../src/api/app-context.ts';
import type { Edge } from '../../src/contracts.ts';
import { deadlineIn } from '../../src/deadline.ts';
import { FeedrankError } from '../../src/errors.ts';
import type { HydratedUser } from '../../src/hydrate.ts';
import { packUser } from '../../src/pack-user.ts';
import { SlateCache } from '../../src/slate-cache.ts';
import { SlateMaker, type SlateMakerOptions } from '../../src/slate-maker.ts';

const block: Edge = { userId: 'u', kind: 'block', target: 'a', createdAt: 1 };

function makerFor(user: Partial<HydratedUser>) {
  const rejected: string[] = [];
  const packed = { ...packUser('u', null, new Float32Array(64), 'cold'), showSensitive: true };
  const maker = new SlateMaker({
    hydrator: {
      hydrate: async () => ({ packed, edges: [block], known: true, version: 1, degraded: [], ...user }),
    },
    generations: {
      use: (work: (generation: object) => unknown) =>
        work({ id: 'g1', follower: { position: '', ageMs: 0 } }),
    },
    pool: { run: () => Promise.reject(new FeedrankError('unavailable', 'every feed worker hangs')) },
    models: { choose: () => ({ version: '1', arm: null, weights: null, done: () => {} }) },
    telemetry: { poolRejected: { inc: ({ reason }: { reason: string }) => rejected.push(reason) } },
    cache: new SlateCache({ ttlMs: 0, onRequest: () => {} }),
    rules: { choose: () => ({ version: 'default', group: null }) },
    candidates: 10,
    changesLateMs: 1000,
  } as unknown as SlateMakerOptions);
  return { maker, rejected };
}

function request(told: KnownReader[], signal?: AbortSignal): SlateRequest {
  return {
    requestId: 'r',
    userId: 'u',
    slateSize: 5,
    exclude: new Uint32Array(0),
    explain: 0,
    explore: false,
    signal,
    onReader: (reader) => told.push(reader),
  };
}

describe('a slate that no worker makes', () => {
  it('has told of its user, for what is shown instead', async () => {
    const told: KnownReader[] = [];
    const { maker, rejected } = makerFor({});
    await expect(maker.slate(request(told), deadlineIn(1000))).rejects.toMatchObject({ code: 'unavailable' });
    expect(told).toEqual([{ edges: [block], seen: new Uint32Array(0), showSensitive: true }]);
    expect(rejected).toEqual(['unavailable']);
  });

  it('says nothing of a user whom no store knew', async () => {
    const told: KnownReader[] = [];
    const { maker } = makerFor({ known: false, edges: [] });
    await expect(maker.slate(request(told), deadlineIn(1000))).rejects.toThrow();
    expect(told).toEqual([]);
  });

  it('is counted apart where its client is gone', async () => {
    const { maker, rejected } = makerFor({});
    await expect(maker.slate(request([], AbortSignal.abort()), deadlineIn(1000))).rejects.toThrow();
    expect(rejected).toEqual(['client_gone']);
  });
});
