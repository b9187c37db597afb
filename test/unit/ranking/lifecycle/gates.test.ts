import { describe, expect, it } from 'vitest';
import type { ServedPost } from '../../../../src/contracts.ts';
import { ArmEvidence, type ArmFigures } from '../../../../src/ranking/lifecycle/arm-evidence.ts';
import {
  judgeCanary,
  judgeProbation,
  judgeRules,
  judgeShadow,
} from '../../../../src/ranking/lifecycle/gates.ts';
import { parseRolloutConfig, rulesRolloutOf } from '../../../../src/ranking/lifecycle/rollout-config.ts';
import { ShadowEvidence, type ShadowFigures } from '../../../../src/ranking/lifecycle/shadow-evidence.ts';
import { TrialEvidence } from '../../../../src/ranking/lifecycle/trial-evidence.ts';
import { HEADS, type Head } from '../../../../src/vocabulary.ts';
import { randomOf } from '../../features/catalogue.ts';

const CONFIG = parseRolloutConfig({});
const { gates, schedule } = CONFIG;

const SHADOW: ShadowFigures = {
  ...new ShadowEvidence().figures(),
  samples: 200,
  correlation: 0.95,
  topOverlap: 0.9,
  drift: 0.05,
  latencyRatio: 1.1,
};

const ARM: ArmFigures = {
  slates: 500,
  failures: 0,
  lastFailure: '',
  lateShare: 0.01,
  rankMs: 6,
  pages: 900,
  posts: 18_000,
  authorConcentration: 0.02,
  firstPageConcentration: 0.02,
  postConcentration: 0.001,
  outOfNetworkShare: 0.6,
  negative: 0.01,
  predicted: 2000,
  observed: 700,
  calibration: 0.35,
};

const canary = (changes: Partial<ArmFigures>) =>
  judgeCanary({ ...ARM, ...changes }, ARM, SHADOW, gates, schedule);

describe('rules', () => {
  const rules = rulesRolloutOf(parseRolloutConfig({ rules: { maxOutOfNetworkChange: 0.5 } }));
  const nothing = new ShadowEvidence().figures();
  const judge = (changes: Partial<ArmFigures>) =>
    judgeRules({ ...ARM, ...changes }, ARM, nothing, rules.gates, schedule);

  it('need no shadow, may move what a ranker must leave alone, and are not judged by predictions', () => {
    expect(judge({}).outcome).toBe('advance');
    expect(judge({ outOfNetworkShare: 0.2, authorConcentration: 0.04 }).outcome).toBe('advance');
    expect(canary({ outOfNetworkShare: 0.2 }).outcome).toBe('roll_back');
    expect(judge({ predicted: 200, observed: 700 }).gates.map(({ gate }) => gate)).not.toContain(
      'calibration',
    );
    expect(judge({ slates: 499 }).outcome).toBe('wait');
  });

  it.each([
    ['errors', { failures: 10, lastFailure: 'a pin without a post' }],
    ['late', { lateShare: 0.2 }],
    ['rerank_time', { rankMs: 40 }],
    ['author_concentration', { authorConcentration: 0.2 }],
    ['first_page_concentration', { firstPageConcentration: 0.2 }],
    ['out_of_network', { outOfNetworkShare: 0.05 }],
    ['coverage', { postConcentration: 0.1 }],
    ['predicted_negatives', { negative: 0.2 }],
    ['engagement', { observed: 300 }],
  ])('are rolled back on %s: %o', (gate, changes) => {
    const verdict = judge(changes);
    expect(verdict.outcome).toBe('roll_back');
    expect(verdict.reason).toMatch(new RegExp(`^${gate}: `));
  });
});

describe('shadow', () => {
  it('moves on with enough samples when every gate passes, and waits before', () => {
    expect(judgeShadow(SHADOW, gates, schedule).outcome).toBe('advance');
    expect(judgeShadow({ ...SHADOW, samples: 199 }, gates, schedule).outcome).toBe('wait');
    expect(judgeShadow(new ShadowEvidence().figures(), gates, schedule).outcome).toBe('wait');
  });

  it.each([
    ['rank_correlation', { correlation: 0.3 }],
    ['rank_correlation', { correlation: Number.NaN }],
    ['score_drift', { drift: 0.8 }],
    ['latency', { latencyRatio: 2.5 }],
    ['errors', { failures: 3, lastFailure: 'ranker@2 gave NaN for click' }],
  ])('rolls back on %s: %o', (gate, changes) => {
    const verdict = judgeShadow({ ...SHADOW, ...changes }, gates, schedule);
    expect(verdict.outcome).toBe('roll_back');
    expect(verdict.reason).toContain(gate);
  });

  it('judges order and drift early, so that a bad model is not scored two hundred times', () => {
    const early = { ...SHADOW, samples: 40 };
    expect(judgeShadow({ ...early, correlation: 0 }, gates, schedule).outcome).toBe('roll_back');
    // Times need more samples: a busy machine must not fail a model.
    expect(judgeShadow({ ...early, latencyRatio: 3 }, gates, schedule).outcome).toBe('wait');
  });
});

describe('canary', () => {
  it('moves on when canary and control are alike', () => {
    expect(canary({}).outcome).toBe('advance');
    expect(canary({ slates: 499 }).outcome).toBe('wait');
  });

  it.each([
    ['errors', { failures: 6, lastFailure: 'ranker@2 gave NaN for click' }],
    ['late', { lateShare: 0.2 }],
    ['rank_time', { rankMs: 20 }],
    ['author_concentration', { authorConcentration: 0.05 }],
    ['first_page_concentration', { firstPageConcentration: 0.05 }],
    ['out_of_network', { outOfNetworkShare: 0.9 }],
    ['coverage', { postConcentration: 0.01 }],
    ['predicted_negatives', { negative: 0.06 }],
    ['calibration', { predicted: 9000 }],
    ['calibration', { predicted: 600 }],
    ['engagement', { observed: 350, predicted: 1000 }],
  ] as [string, Partial<ArmFigures>][])('rolls back on %s: %o', (gate, changes) => {
    const verdict = canary(changes);
    expect([verdict.outcome, verdict.reason?.split(':')[0]]).toEqual(['roll_back', gate]);
  });

  it('rolls back what skipped the shadow and ranks otherwise', () => {
    const verdict = judgeCanary(ARM, ARM, { ...SHADOW, samples: 50, correlation: 0.1 }, gates, schedule);
    expect(verdict.reason).toContain('rank_correlation');
  });

  it('does not move on before it was compared in shadow', () => {
    expect(judgeCanary(ARM, ARM, new ShadowEvidence().figures(), gates, schedule).outcome).toBe('wait');
  });

  it('needs no events to move on, and says that those gates wait', () => {
    const silent = { predicted: 10, observed: 0 };
    const verdict = judgeCanary({ ...ARM, ...silent }, { ...ARM, ...silent }, SHADOW, gates, schedule);
    expect(verdict.outcome).toBe('advance');
    expect(verdict.gates.filter(({ status }) => status === 'waiting').map(({ gate }) => gate)).toEqual([
      'calibration',
      'engagement',
    ]);
  });

  it('does not take chance for a worse model: equal arms are rolled back less than once in a hundred', () => {
    const random = randomOf(11);
    let rolledBack = 0;
    for (let trial = 0; trial < 400; trial++) {
      const events = () => Array.from({ length: 200 }, () => random() < 0.15).filter(Boolean).length;
      const small = { predicted: 50, posts: 200 };
      const verdict = judgeCanary(
        { ...ARM, ...small, observed: events() },
        { ...ARM, ...small, observed: events() },
        SHADOW,
        gates,
        schedule,
      );
      if (verdict.outcome === 'roll_back') rolledBack++;
    }
    expect(rolledBack).toBeLessThan(4);
  });

  it('finds a model that halves engagement', () => {
    expect(canary({ observed: 300, predicted: 850 }).reason).toContain('engagement');
  });
});

describe('probation', () => {
  it('goes back on failures, not on a single one', () => {
    const failing = { ...ARM, failures: 20, lastFailure: 'ranker@2 gave NaN for click' };
    expect(judgeProbation(failing, gates)).toMatchObject({
      outcome: 'roll_back',
      reason: expect.stringContaining('gave NaN'),
    });
    expect(judgeProbation({ ...ARM, failures: 1 }, gates).outcome).toBe('wait');
    expect(judgeProbation({ ...ARM, slates: 3, failures: 2 }, gates).outcome).toBe('wait');
  });
});

describe('trial evidence', () => {
  const trial = { version: '2', stage: 'canary' as const, share: 0.2, sinceMs: 0 };
  const evidence = new TrialEvidence('ranker', trial, CONFIG);
  const users = Array.from({ length: 10_000 }, (_, i) => `user-${i}`);

  it('has a control group as large as the canary, and nobody in both', () => {
    const groups = users.map((user) => evidence.groupOf(user));
    const share = (group: string) => groups.filter((one) => one === group).length / users.length;
    expect(share('canary')).toBeCloseTo(0.2, 1);
    expect(Math.abs(share('canary') - share('control'))).toBeLessThan(0.02);
  });

  it('keeps every user of a small canary in a larger one', () => {
    const larger = new TrialEvidence('ranker', { ...trial, share: 0.5 }, CONFIG);
    for (const user of users) {
      if (evidence.groupOf(user) === 'canary') expect(larger.groupOf(user)).toBe('canary');
    }
  });

  it('goes through the shares of the schedule, then promotes', () => {
    const next = (stage: 'shadow' | 'canary', share: number) =>
      new TrialEvidence('ranker', { ...trial, stage, share }, CONFIG).next();
    expect(next('shadow', 0)).toEqual({ stage: 'canary', share: 0.05 });
    expect(next('canary', 0.05)).toEqual({ stage: 'canary', share: 0.25 });
    expect(next('canary', 0.25)).toBe('promote');
  });
});

describe('arm evidence', () => {
  const post = (postId: string, click: number): ServedPost => ({
    postId,
    token: '',
    position: 0,
    score: 1,
    propensity: 1,
    sources: postId === 'followed' ? ['following'] : ['nearest'],
    probabilities: Object.fromEntries(HEADS.map((head) => [head, head === 'click' ? click : 0.1])) as Record<
      Head,
      number
    >,
  });

  it('compares what was predicted with what came, each event once', () => {
    const arm = new ArmEvidence();
    arm.served('r1', [post('a', 0.4), post('followed', 0.6)], () => 'author');
    expect(arm.engaged('r1', 'a', 'click')).toBe(true);
    arm.engaged('r1', 'a', 'click');
    arm.engaged('r1', 'a', 'impression');
    expect(arm.engaged('r2', 'a', 'click')).toBe(false);
    const figures = arm.figures();
    expect(figures.predicted).toBeCloseTo(1.2, 6);
    expect(figures).toMatchObject({
      observed: 1,
      pages: 1,
      posts: 2,
      outOfNetworkShare: 0.5,
      authorConcentration: 1,
    });
  });

  it('remembers a bounded number of pages', () => {
    const arm = new ArmEvidence();
    for (let i = 0; i < 20_002; i++) arm.served(`r${i}`, [], () => null);
    expect(arm.engaged('r0', 'a', 'click')).toBe(false);
    expect(arm.engaged('r20001', 'a', 'click')).toBe(true);
  });

  it('counts failures and lateness of the main ranker', () => {
    const arm = new ArmEvidence();
    arm.answered({ degraded: ['ranker_failed'], failures: ['gave NaN'], stageMs: { rank: 2, encode: 1 } });
    arm.answered({ degraded: ['ranker_late'], failures: [], stageMs: { rank: 3 } });
    expect(arm.figures()).toMatchObject({
      slates: 2,
      failures: 1,
      lateShare: 0.5,
      lastFailure: 'gave NaN',
      rankMs: 3,
    });
  });
});
