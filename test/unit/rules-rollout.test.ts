// The life of the rules in one replica: real file, registry and evidence; readers are simulated by their answers.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ServedPost } from '../../src/contracts.ts';
import { parseRolloutConfig, rulesRolloutOf } from '../../src/ranking/lifecycle/rollout-config.ts';
import { readHistory } from '../../src/ranking/lifecycle/stage-file.ts';
import { RulesFile } from '../../src/rerank/rules-file.ts';
import { RulesChoices } from '../../src/rules-choice.ts';
import { rulesFolder } from '../../src/rules-registry.ts';
import { RulesRollout } from '../../src/rules-rollout.ts';
import { createRulesMetrics } from '../../src/stage-metrics.ts';
import type { RulesUpdate } from '../../src/worker.ts';

const SHARES = [0.1, 0.3];
const SLATES = 20;
const NEVER_MS = 1e9;
const FIRST = { authorCap: { perWindow: 2 } };
const SECOND = { authorCap: { perWindow: 3 } };
const THIRD = { authorCap: { perWindow: 4 } };
const USERS = Array.from({ length: 600 }, (_, i) => `user-${i}`);

interface Replica {
  rollout: RulesRollout;
  choices: RulesChoices;
  registry: Registry;
  sent: RulesUpdate[];
  /** Puts rules into the file and looks at it; their version. */
  write(rules: object): Promise<string>;
  restart(): Promise<Replica>;
}

let dir: string;
let open: RulesRollout[] = [];
let writes = 0;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'feedrank-rules-'));
  writeFileSync(join(dir, 'rules.json'), JSON.stringify(FIRST));
});
afterEach(async () => {
  vi.useRealTimers();
  for (const one of open) await one.close();
  open = [];
  rmSync(dir, { recursive: true });
});

async function start(mode: 'auto' | 'manual' = 'auto', minStageMs = 0): Promise<Replica> {
  const path = join(dir, 'rules.json');
  const file = new RulesFile(path, () => {}, NEVER_MS);
  const choices = new RulesChoices({ authorOf: (postId) => postId.split('/')[0], onFailure: () => {} });
  const sent: RulesUpdate[] = [];
  const registry = new Registry();
  const schedule = { canaryShares: SHARES, canarySlates: SLATES, minStageMs };
  const rollout = new RulesRollout({
    dataDir: dir,
    file,
    mode,
    config: rulesRolloutOf(parseRolloutConfig({ schedule })),
    choices,
    metrics: createRulesMetrics(registry),
    pollMs: NEVER_MS,
    send: async (update) => sent.push(update),
    log: () => {},
  });
  await rollout.open();
  open.push(rollout);
  return {
    rollout,
    choices,
    registry,
    sent,
    write: async (rules) => {
      // Another length each time: the clock of the file system may not tell two writes apart.
      writeFileSync(path, JSON.stringify(rules) + ' '.repeat(++writes));
      await file.check();
      await rollout.check();
      return file.current.version;
    },
    restart: async () => {
      await rollout.close();
      open = open.filter((one) => one !== rollout);
      return start(mode, minStageMs);
    },
  };
}

const groupsOf = ({ choices }: Replica) =>
  Object.groupBy(USERS, (user) => choices.choose(user).group ?? 'none');

/** Each reader takes a slate and reads its page; `authors` of the canary's pages, ten of the control's. */
async function read(replica: Replica, authors = 10, users = USERS): Promise<void> {
  for (const userId of users) {
    const choice = replica.choices.choose(userId);
    replica.choices.answered(choice, { rules: choice.version, degraded: [], stageMs: { rerank: 1 } });
    const many = choice.group === 'canary' ? authors : 10;
    const posts = Array.from({ length: 10 }, (_, i) => ({
      postId: `author-${i % many}/${userId}-${i}`,
      sources: [],
      probabilities: null,
    })) as unknown as ServedPost[];
    replica.choices.served({ requestId: `of ${userId}`, userId, rules: choice.version, posts });
  }
  await replica.rollout.check();
}

const history = async () => (await readHistory([rulesFolder(dir)])).reverse();

describe('a changed rules file', () => {
  it('is tried on a sticky share of the users beside as many who keep the old rules', async () => {
    const replica = await start();
    const { serving } = replica.rollout.status();
    const version = await replica.write(SECOND);
    const { canary = [], control = [], none = [] } = groupsOf(replica);
    expect(Math.abs(canary.length - control.length)).toBeLessThan(40);
    expect(canary.length / USERS.length).toBeCloseTo(SHARES[0], 1);
    for (const user of canary) expect(replica.choices.choose(user).version).toBe(version);
    for (const user of [...control, ...none]) expect(replica.choices.choose(user).version).toBe(serving);
    expect(replica.sent.at(-1)).toMatchObject({ serving: { version: serving }, trial: { version } });
    expect(groupsOf(await replica.restart())).toMatchObject({ canary, control });
  });

  it('goes through every share to everybody when its gates pass, and the text before is the way back', async () => {
    const replica = await start();
    const { serving } = replica.rollout.status();
    const version = await replica.write(SECOND);
    const first = groupsOf(replica).canary ?? [];
    await read(replica);
    expect(replica.rollout.status().trial).toMatchObject({ version, share: SHARES[1], next: 'promote' });
    expect(groupsOf(replica).canary).toEqual(expect.arrayContaining(first));
    await read(replica);
    expect(replica.rollout.status()).toMatchObject({ serving: version, previous: serving, trial: null });
    expect(replica.rollout.problems).toEqual([]);
    expect((await history()).map(({ kind, action, by }) => `${kind} ${action} ${by}`)).toEqual([
      'rules promoted file',
      'rules canary auto',
      'rules canary auto',
      'rules promoted auto',
    ]);
    await replica.rollout.move({ action: 'rollback', reason: 'readers complain' });
    expect(replica.rollout.status()).toMatchObject({ serving, previous: null });
    expect((await replica.restart()).rollout.status()).toMatchObject({ serving, trial: null });
  });

  it('that narrows feeds to a few authors is taken back with the reason, also after restarts', async () => {
    let replica = await start();
    const { serving } = replica.rollout.status();
    const version = await replica.write(SECOND);
    await read(replica, 2);
    for (const _ of [0, 1]) {
      const status = replica.rollout.status();
      expect(status).toMatchObject({ serving, file: version, trial: null });
      expect(status.refused).toMatchObject([
        { version, reason: expect.stringMatching(/^author_concentration: /) },
      ]);
      expect(replica.rollout.problems).toEqual([
        expect.stringContaining(`rules ${version} were rolled back (author_concentration`),
      ]);
      expect(Object.keys(groupsOf(replica))).toEqual(['none']);
      replica = await replica.restart();
    }
    expect((await history()).at(-1)).toMatchObject({
      kind: 'rules',
      version,
      action: 'rolled_back',
      by: 'auto',
    });
    await replica.rollout.move({ action: 'promote', reason: 'meant that way' });
    expect(replica.rollout.status()).toMatchObject({ serving: version, refused: [], problems: [] });
    expect((await replica.restart()).rollout.status().serving).toBe(version);
  });

  it('that makes requests fail is taken back, and the failures of the ranker are not held against it', async () => {
    const replica = await start();
    const version = await replica.write(SECOND);
    for (const userId of USERS) {
      const choice = replica.choices.choose(userId);
      const answer = { rules: choice.version, degraded: ['ranker_failed'], stageMs: {} };
      replica.choices.answered(choice, answer as never);
    }
    await replica.rollout.check();
    expect(replica.rollout.status().trial).toMatchObject({ version, canary: { failures: 0 } });
    for (const userId of groupsOf(replica).canary ?? [])
      replica.choices.failed(replica.choices.choose(userId), 'a pin without a post');
    await replica.rollout.check();
    expect(replica.rollout.status().refused[0].reason).toMatch(/^errors: .*a pin without a post/);
    expect(await replica.registry.metrics()).toMatch(/feedrank_rules_rollbacks_total\{reason="errors"\} 1/);
  });

  it('goes back by itself where requests fail soon after it came to everybody, and not later', async () => {
    const replica = await start();
    const { serving } = replica.rollout.status();
    const version = await replica.write(SECOND);
    await read(replica);
    await read(replica);
    expect(replica.rollout.status().serving).toBe(version);
    for (const userId of USERS.slice(0, 2))
      replica.choices.failed(replica.choices.choose(userId), 'a bad pin');
    await replica.rollout.check();
    expect(replica.rollout.status().serving, 'two failures say nothing').toBe(version);
    replica.choices.failed(replica.choices.choose(USERS[2]), 'a bad pin');
    await replica.rollout.check();
    expect(replica.rollout.status()).toMatchObject({ serving, file: version, previous: null });
    expect(replica.rollout.problems).toEqual([expect.stringMatching(/were rolled back \(errors.*a bad pin/)]);
    expect((await history()).at(-1)).toMatchObject({
      version,
      action: 'rolled_back',
      by: 'auto',
      from: version,
    });

    await replica.rollout.move({ action: 'promote', version });
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 86_400_000 });
    await replica.rollout.check();
    for (const userId of USERS) replica.choices.failed(replica.choices.choose(userId), 'a bad pin');
    await replica.rollout.check();
    expect(replica.rollout.status().serving).toBe(version);
  });

  it('begins anew with the newest text when it changes again, and ends when it is put back', async () => {
    const replica = await start();
    const { serving } = replica.rollout.status();
    const second = await replica.write(SECOND);
    await read(replica, 10, (groupsOf(replica).canary ?? []).slice(0, 5));
    const third = await replica.write(THIRD);
    expect(replica.rollout.status().trial).toMatchObject({
      version: third,
      share: SHARES[0],
      canary: { slates: 0 },
    });
    writeFileSync(join(dir, 'rules.json'), JSON.stringify(FIRST));
    const again = await replica.restart();
    expect(again.rollout.status()).toMatchObject({ serving, trial: null, refused: [], problems: [] });
    expect((await history()).at(-1)).toMatchObject({ version: third, action: 'withdrawn' });
    const texts = readdirSync(rulesFolder(dir)).filter((name) => /^[0-9a-f]{12}\.json$/.test(name));
    expect(texts).toEqual([`${serving}.json`]);
    expect(second).not.toBe(third);
  });

  it('keeps the evidence of its trial over a restart', async () => {
    const replica = await start();
    const version = await replica.write(SECOND);
    await read(replica, 10, (groupsOf(replica).canary ?? []).slice(0, 5));
    const { trial } = (await replica.restart()).rollout.status();
    expect(trial).toMatchObject({ version, canary: { slates: 5, pages: 5 }, control: { slates: 0 } });
  });

  it('says what it waits for, and the ready check says so after a day', async () => {
    const replica = await start('auto', NEVER_MS);
    await replica.write(SECOND);
    const needed = `${SLATES} of each are needed`;
    expect(replica.rollout.status().trial?.waits).toBe(
      `feeds: 0 of the canary and 0 of the control, ${needed}`,
    );
    expect(replica.rollout.problems).toEqual([]);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 2 * 86_400_000 });
    expect(replica.rollout.problems).toEqual([expect.stringContaining('wait for feeds: 0 of the canary')]);
    await read(replica);
    expect(replica.rollout.status().trial?.waits).toMatch(/^time: the stage lasts until 2/);
  });

  it('is for everybody at once where the rollout is manual, unless an operator took it back', async () => {
    const replica = await start('manual');
    const { serving } = replica.rollout.status();
    const version = await replica.write(SECOND);
    expect(replica.rollout.status()).toMatchObject({ serving: version, previous: serving, trial: null });
    await replica.rollout.move({ action: 'rollback' });
    const again = await replica.restart();
    expect(again.rollout.status()).toMatchObject({ serving, file: version, trial: null });
    await expect(again.rollout.move({ action: 'rollback' })).rejects.toMatchObject({ code: 'conflict' });
    await expect(again.rollout.move({ action: 'promote', version: '0123456789ab' })).rejects.toMatchObject({
      code: 'not_found',
    });
  });

  it('serves the kept rules when its stages cannot be read', async () => {
    const replica = await start();
    const { serving } = replica.rollout.status();
    await replica.write(SECOND);
    writeFileSync(join(rulesFolder(dir), 'rollout.json'), 'torn');
    const again = await replica.restart();
    expect(again.rollout.status()).toMatchObject({ serving, trial: null });
    expect(again.rollout.problems).toEqual([expect.stringContaining('rollout.json')]);
  });
});
