import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Deadline, deadlineIn } from '../../../src/deadline.ts';
import { FeedrankError } from '../../../src/errors.ts';
import { createPolicies } from '../../../src/resilience/policies.ts';
import { RetryBudget } from '../../../src/resilience/retry-budget.ts';
import { type CallOutcome, guarded, Policy, type PolicyOptions } from '../../../src/resilience.ts';

const down = () => Promise.reject(new FeedrankError('unavailable', 'down'));
const soon = () => deadlineIn(1000);

/** A store whose calls are counted and scripted; private state shows whether methods keep their object. */
class Store {
  readonly kind = 'scripted';
  #reads = 0;
  script: (key: string) => Promise<string> = async (key) => `value of ${key}`;

  get reads(): number {
    return this.#reads;
  }

  async read(key: string, _deadline: Deadline): Promise<string> {
    this.#reads++;
    return this.script(key);
  }

  async write(key: string, _deadline: Deadline): Promise<string> {
    this.#reads++;
    return this.script(key);
  }

  async ping(_deadline: Deadline): Promise<void> {
    await this.script('ping');
  }
}

let policy: Policy | undefined;

function open(options: Partial<PolicyOptions> = {}) {
  const store = new Store();
  const outcomes: CallOutcome[] = [];
  policy = new Policy({
    dependency: 'store',
    methods: { read: { lane: 'feed', retry: true }, write: { lane: 'ingestion', retry: false } },
    lanes: { feed: 100, ingestion: 1, admin: 1, offline: 1 },
    onCall: (outcome) => outcomes.push(outcome),
    ...options,
  });
  return { store, port: guarded(store, policy), policy, outcomes };
}

afterEach(() => {
  policy?.close();
  vi.useRealTimers();
});

describe('guarded', () => {
  it('gives what the port gives, and passes through what has no rule', async () => {
    const { port, outcomes } = open();
    expect(await port.read('a', soon())).toBe('value of a');
    expect(port.kind).toBe('scripted');
    expect(port.reads).toBe(1);
    await port.ping(soon());
    expect(outcomes).toEqual(['ok']);
  });

  it('tries a read again after a lost connection, a write never', async () => {
    const { store, port } = open();
    for (let i = 0; i < 20; i++) await port.read('a', soon());
    let failures = 1;
    store.script = async () => (failures-- > 0 ? down() : 'second try');
    expect(await port.read('a', soon())).toBe('second try');
    failures = 1;
    await expect(port.write('a', soon())).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('does not try again what the port refuses for its own sake', async () => {
    const { store, port } = open();
    for (let i = 0; i < 20; i++) await port.read('a', soon());
    store.script = () => Promise.reject(new FeedrankError('invalid_input', 'bad'));
    const before = store.reads;
    await expect(port.read('a', soon())).rejects.toMatchObject({ code: 'invalid_input' });
    expect(store.reads - before).toBe(1);
  });

  it('asks a dependency that fails every time hardly at all: far below 1.2 attempts a request', async () => {
    const { store, port, policy } = open();
    store.script = down;
    for (let i = 0; i < 1000; i++) await port.read('a', soon()).catch(() => {});
    expect(policy.state).toBe('open');
    expect(policy.trouble).toContain('store is not asked');
    expect(store.reads).toBeLessThanOrEqual(6);
  });

  it('a call that hangs costs its deadline and no more, and five of them open the breaker', async () => {
    vi.useFakeTimers();
    const { store, port, policy, outcomes } = open();
    store.script = () => new Promise(() => {});
    const calls = Promise.all(
      Array.from({ length: 5 }, () => port.read('a', deadlineIn(100)).catch((error) => error.code)),
    );
    await vi.advanceTimersByTimeAsync(100);
    expect(await calls).toEqual(Array(5).fill('timeout'));
    expect(policy.state).toBe('open');
    expect(outcomes).toEqual(Array(5).fill('late'));
    // The next one is refused without waiting.
    await expect(port.read('a', deadlineIn(100))).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('does not blame the dependency for callers that left it no time', async () => {
    vi.useFakeTimers();
    const { store, port, policy } = open();
    store.script = () => new Promise(() => {});
    const calls = Promise.allSettled(Array.from({ length: 50 }, () => port.read('a', deadlineIn(10))));
    await vi.advanceTimersByTimeAsync(10);
    await calls;
    expect(policy.state).toBe('closed');
  });

  it('does not blame the dependency for timers that fire late because the event loop was busy', async () => {
    vi.useFakeTimers();
    const { store, port, policy } = open();
    store.script = () => new Promise(() => {});
    const calls = Promise.allSettled(Array.from({ length: 50 }, () => port.read('a', deadlineIn(100))));
    const now = performance.now.bind(performance);
    const late = vi.spyOn(performance, 'now').mockImplementation(() => now() + 200);
    await vi.advanceTimersByTimeAsync(100);
    await calls;
    late.mockRestore();
    expect(policy.state).toBe('closed');
  });

  it('keeps lanes apart: writes that hang do not hold up a read', async () => {
    const { store, port } = open();
    store.script = (key) => (key === 'hang' ? new Promise(() => {}) : Promise.resolve('read'));
    const writes = Array.from({ length: 20 }, () => port.write('hang', deadlineIn(200)).catch((e) => e.code));
    expect(await port.read('a', soon())).toBe('read');
    expect(new Set(await Promise.all(writes))).toEqual(new Set(['timeout']));
  });

  it('drops work that waited in its lane past its deadline instead of doing it late', async () => {
    const { store, port } = open();
    let release = () => {};
    const written: string[] = [];
    store.script = async (key) => {
      written.push(key);
      if (key === 'first') await new Promise<void>((resolve) => (release = resolve));
      return key;
    };
    const first = port.write('first', soon());
    await expect(port.write('late', deadlineIn(20))).rejects.toMatchObject({ code: 'timeout' });
    release();
    await first;
    expect(await port.write('third', soon())).toBe('third');
    expect(written).toEqual(['first', 'third']);
  });

  it('refuses with `overloaded` what no longer fits into its lane', async () => {
    const { store, port, outcomes } = open();
    store.script = () => new Promise(() => {});
    const calls = Array.from({ length: 514 }, () => port.write('a', deadlineIn(50)).catch((e) => e.code));
    const codes = await Promise.all(calls);
    expect(codes.filter((code) => code === 'overloaded').length).toBe(1);
    expect(outcomes).toContain('shed');
  });
});

describe('the retry budget', () => {
  it('is a fifth of the calls, at any time, in any order', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 500 }), (steps) => {
        const budget = new RetryBudget();
        let calls = 0;
        let retries = 0;
        for (const isCall of steps) {
          if (isCall) {
            calls++;
            budget.call();
          } else if (budget.take()) retries++;
          expect(retries).toBeLessThanOrEqual(0.2 * calls + 1e-6);
        }
      }),
    );
  });

  it('holds for a dependency that fails at random, whatever its share', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { minLength: 1, maxLength: 200 }), async (fails) => {
        vi.useFakeTimers();
        const { store, port, policy } = open();
        let at = 0;
        store.script = () => (fails[at++ % fails.length] ? down() : Promise.resolve('ok'));
        for (let i = 1; i <= 60; i++) {
          const call = port.read('a', deadlineIn(5000)).catch(() => {});
          await vi.advanceTimersByTimeAsync(200);
          await call;
          expect(store.reads).toBeLessThanOrEqual(1.2 * i + 1e-6);
        }
        policy.close();
        vi.useRealTimers();
      }),
      { numRuns: 40 },
    );
  });
});

describe('a dependency that answers slowly', () => {
  const slow = async () => {
    await new Promise((resolve) => setTimeout(resolve, 40));
    return 'late value';
  };
  const patient = () => deadlineIn(5000);

  it('is left alone although it answers in its callers’ time, and what it answered is given', async () => {
    const { port, store, policy } = open({ slowMs: 20 });
    store.script = slow;
    const answers = [];
    // A busy machine excuses some of them.
    for (let i = 0; i < 100 && policy.state === 'closed'; i++) answers.push(await port.read('a', patient()));
    expect(policy.state).not.toBe('closed');
    expect(new Set(answers)).toEqual(new Set(['late value']));
    // Its probes are answered, but as slowly.
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(policy.state).not.toBe('closed');
    store.script = async () => 'in time';
    await expect.poll(() => policy.state, { timeout: 5000 }).toBe('closed');
  });

  it('is used on where nobody waits for it', async () => {
    const { port, store, policy } = open({
      slowMs: 20,
      methods: { read: { lane: 'offline', retry: true } },
    });
    store.script = slow;
    for (let i = 0; i < 12; i++) await port.read('a', patient());
    expect(policy.state).toBe('closed');
  });
});

describe('the policies of the stores', () => {
  it('close the door to page texts that come late, and not the one to writes', async () => {
    const policies = createPolicies({ sqlConnections: 10 });
    const never = new Promise<never>(() => {});
    const sql = {
      getPosts: (_ids: readonly string[], _deadline: Deadline): Promise<string[]> => never,
      putPosts: async (_posts: readonly string[], _deadline: Deadline) => [true],
      ping: (_deadline: Deadline): Promise<void> => never,
    };
    const texts = guarded(sql, policies.texts);
    const store = guarded(sql, policies.sql);
    try {
      const reads = Array.from({ length: 12 }, () => texts.getPosts(['a'], deadlineIn(60)));
      await Promise.allSettled(reads);
      for (let i = 0; i < 30 && policies.texts.state === 'closed'; i++) {
        await texts.getPosts(['a'], deadlineIn(60)).catch(() => {});
      }
      expect(policies.texts.state).not.toBe('closed');
      expect(policies.sql.state).toBe('closed');
      expect(await store.putPosts(['a'], deadlineIn(1000))).toEqual([true]);
    } finally {
      for (const one of Object.values(policies) as Policy[]) one.close();
    }
  });
});
