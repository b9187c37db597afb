// The life of index versions in one replica: real registry and evidence; what is open and what readers get are simulated.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { FeedAnswer, ServedPost } from '../../src/contracts.ts';
import type { Generations } from '../../src/generations.ts';
import { IndexChoices } from '../../src/index-choice.ts';
import { IndexRollout } from '../../src/index-rollout.ts';
import { indexRolloutOf, parseRolloutConfig } from '../../src/ranking/lifecycle/rollout-config.ts';
import { readHistory } from '../../src/ranking/lifecycle/stage-file.ts';
import { createIndexMetrics } from '../../src/stage-metrics.ts';

const OLD = 'v20990101T000000000Z-abcdef';
const NEW = 'v20990102T000000000Z-abcdef';
const NEWER = 'v20990103T000000000Z-abcdef';
const USERS = Array.from({ length: 600 }, (_, i) => `user-${i}`);

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'feedrank-index-'));
  for (const version of [OLD, NEW, NEWER]) mkdirSync(join(dir, version));
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(dir, { recursive: true });
});

/** Which versions are open, as `Generations` tells it. */
class Opened {
  current = { id: OLD };
  trial: string | null = null;
  refused: { version: string; reason: string } | null = null;
  readonly torn = new Set<string>();
  get refusal() {
    return this.refused?.reason ?? null;
  }
  async tryOut(version: string) {
    this.refused = this.torn.has(version) ? { version, reason: 'torn' } : null;
    this.trial = this.refused ? null : version;
    return this.refused === null;
  }
  async dropTrial() {
    this.trial = null;
  }
  async serve(version: string) {
    this.refused = this.torn.has(version) ? { version, reason: 'torn' } : null;
    if (this.refused) return false;
    if (this.trial === version) this.trial = null;
    this.current = { id: version };
    return true;
  }
}

function replica({ large = false, schedule = {} } = {}) {
  const config = indexRolloutOf(
    parseRolloutConfig({
      schedule: {
        shadowSampleShare: 1,
        shadowSamples: 5,
        canaryShares: [0.4],
        canarySlates: 50,
        minStageMs: 0,
        ...schedule,
      },
    }),
  );
  const authorOf = (postId: string) => postId.split('/')[0];
  // Each look finds what it finds: the worker answers at once.
  let sample: object | Error = {};
  const pool = {
    background: async () => {
      if (sample instanceof Error) throw sample;
      return sample;
    },
  };
  const choices = new IndexChoices({ pool, authorOf, watchedSlates: 100 });
  const rollout = new IndexRollout({
    indexDir: dir,
    config,
    choices,
    metrics: createIndexMetrics(new Registry()),
    tooLarge: async () => (large ? 'too large' : null),
    log: () => {},
  });
  const opened = new Opened();
  return {
    opened,
    choices,
    rollout,
    step: (published: string) => rollout.step(opened as unknown as Generations, published),
    finds: (found: { overlap?: number; eligible?: number } | Error) => {
      const { overlap = 1, eligible = 1 } = found instanceof Error ? {} : found;
      const [deciles, none] = [Array(10).fill(10), Array(8).fill(0)];
      sample =
        found instanceof Error
          ? found
          : {
              rows: 100,
              correlation: overlap,
              topOverlap: eligible,
              servingDeciles: deciles,
              trialDeciles: deciles,
              servingMeans: none,
              trialMeans: none,
              servingMsPerRow: 1,
              trialMsPerRow: 1,
            };
    },
    /** Each reader takes a slate and its page: of `authors` where `bad` names the index that made it. */
    async read({ bad = '', empty = false } = {}) {
      for (const userId of USERS) {
        const index = opened.trial && choices.isCanary(userId) ? opened.trial : opened.current.id;
        const isBad = index === bad;
        const posts = Array.from({ length: isBad && empty ? 0 : 10 }, (_, i) => ({
          postId: `author-${isBad ? 0 : i}/${userId}-${i}`,
          position: i,
          sources: [],
          probabilities: null,
        })) as unknown as ServedPost[];
        const answer = { generation: index, posts, degraded: [], failures: [], stageMs: { retrieve: 2 } };
        choices.answered(userId, answer as unknown as FeedAnswer);
        choices.served({ requestId: `of ${userId} by ${index}`, userId, index, posts });
        choices.shadow(index, { requestId: `${userId}`, seed: 1 } as never);
        await Promise.resolve();
      }
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

const history = async () =>
  (await readHistory([dir])).reverse().map(({ version, action, by }) => `${version} ${action} ${by}`);
const reason = async () => (await readHistory([dir]))[0].reason;

describe('a published index', () => {
  it('goes through shadow and canary to everybody, with the one before as the way back', async () => {
    const { opened, choices, step, finds, read, rollout } = replica();
    finds({ overlap: 0.95 });
    await step(OLD);
    await step(NEW);
    expect(opened).toMatchObject({ current: { id: OLD }, trial: NEW });
    expect(
      USERS.filter((user) => choices.isCanary(user)),
      'in shadow',
    ).toEqual([]);
    await read();
    await step(NEW);
    const canaries = USERS.filter((user) => choices.isCanary(user));
    expect(canaries.length / USERS.length).toBeCloseTo(0.4, 1);
    await read();
    await step(NEWER);
    expect(opened, 'a newer one waited').toMatchObject({ current: { id: NEW }, trial: null });
    expect(await rollout.startWith()).toBe(NEW);
    await step(NEWER);
    expect(opened.trial).toBe(NEWER);
    expect(await history()).toEqual([
      `${OLD} promoted file`,
      `${NEW} shadow auto`,
      `${NEW} canary auto`,
      `${NEW} promoted auto`,
      `${NEWER} shadow auto`,
    ]);
  });

  it.each([
    ['finds other candidates', { overlap: 0.3 }, /^overlap: 0\.3/],
    ['finds what is no servable post', { eligible: 0.8 }, /^eligible: 0\.8/],
    ['cannot be searched', new Error('a list of 0 rows'), /^errors: .*a list of 0 rows/],
  ])('that %s goes back in shadow, and is not tried again', async (_what, found, expected) => {
    const { opened, step, finds, read, rollout } = replica();
    finds(found);
    await step(OLD);
    await step(NEW);
    await read();
    await step(NEW);
    expect(opened).toMatchObject({ current: { id: OLD }, trial: null });
    expect(await reason()).toMatch(expected);
    await step(NEW);
    expect(opened.trial).toBeNull();
    expect(rollout.problems).toEqual([expect.stringContaining(`index ${NEW} was rolled back`)]);
    await step(NEWER);
    expect(opened.trial, 'the next one is').toBe(NEWER);
  });

  it.each([
    ['one author everywhere', {}, /^author_concentration: /],
    ['empty pages', { empty: true }, /^empty: /],
  ])('that gives the canary %s goes back', async (_what, harm, expected) => {
    const { opened, step, finds, read } = replica();
    finds({});
    await step(OLD);
    await step(NEW);
    await read();
    await step(NEW);
    await read({ bad: NEW, ...harm });
    await step(NEW);
    expect(opened).toMatchObject({ current: { id: OLD }, trial: null });
    expect(await reason()).toMatch(expected);
  });

  it('too large for a canary serves at once, and goes back where it is worse than what served', async () => {
    const { opened, step, read } = replica({ large: true });
    await step(OLD);
    await read();
    await step(NEW);
    expect(opened).toMatchObject({ current: { id: NEW }, trial: null });
    await read();
    await step(NEW);
    expect(opened.current.id, 'it is as good').toBe(NEW);
    await read({ bad: NEW });
    await read({ bad: NEW });
    await step(NEW);
    expect(opened.current.id).toBe(OLD);
    expect(await reason()).toMatch(/^(author|first_page)_concentration: /);
    await step(NEW);
    expect(opened.current.id, 'though it is published').toBe(OLD);
  });

  it('is past its probation after that time', async () => {
    const { opened, step, read } = replica({ large: true });
    await step(OLD);
    await read();
    await step(NEW);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 86_400_000 });
    await step(NEW);
    await read({ bad: NEW });
    await step(NEW);
    expect(opened.current.id).toBe(NEW);
  });

  it('that cannot be opened is refused, and is no trial', async () => {
    const { opened, step } = replica();
    opened.torn.add(NEW);
    await step(OLD);
    await step(NEW);
    expect(opened).toMatchObject({ current: { id: OLD }, trial: null, refused: { version: NEW } });
    expect(await history()).toEqual([`${OLD} promoted file`]);
  });

  it('is not held for a site without readers', async () => {
    const { opened, step } = replica({ schedule: { maxIndexStageMs: 1000 } });
    await step(OLD);
    await step(NEW);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 2000 });
    await step(NEW);
    vi.setSystemTime(Date.now() + 2000);
    await step(NEW);
    expect(opened.current.id).toBe(NEW);
    expect(await reason()).toMatch(/^no gate failed in \d+ ms/);
  });

  it('is decided once for replicas that share the folder, and a version before it is an operator’s way back', async () => {
    const [a, b] = [replica(), replica()];
    for (const published of [OLD, NEW]) {
      for (const one of [a, b]) {
        one.finds({});
        await one.step(published);
      }
    }
    expect(b.opened.trial).toBe(NEW);
    expect(await history()).toEqual([`${OLD} promoted file`, `${NEW} shadow auto`]);
    await a.read();
    await a.step(NEW);
    await b.step(NEW);
    expect(USERS.filter((user) => b.choices.isCanary(user))).toEqual(
      USERS.filter((user) => a.choices.isCanary(user)),
    );
    await b.read();
    await b.step(NEW);
    await a.step(NEW);
    expect([a.opened.current.id, b.opened.current.id]).toEqual([NEW, NEW]);
    await a.step(OLD);
    await b.step(OLD);
    expect([a.opened.current.id, b.opened.current.id]).toEqual([OLD, OLD]);
  });
});
