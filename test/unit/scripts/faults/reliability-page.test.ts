import { describe, expect, it } from 'vitest';
import { atLeast, atMost, equals, holds } from '../../../../scripts/faults/criterion.ts';
import { mergeResults, reliabilityPage } from '../../../../scripts/faults/reliability-page.ts';
import type { ScenarioResult } from '../../../../scripts/faults/scenario.ts';

const MACHINE = { cpu: 'a cpu', cores: 2, memoryGiB: 8, node: 'v24.0.0', platform: 'linux-x64' };

function result(id: number, given: Partial<ScenarioResult> = {}): ScenarioResult {
  return {
    id,
    title: `fault ${id}`,
    criteria: [atMost('p99', 10, 20, { unit: 'ms' })],
    startedAt: '2026-01-02T03:04:05.000Z',
    seconds: 7,
    quick: false,
    machine: MACHINE,
    foreignShare: 0.25,
    ...given,
  };
}

describe('criteria', () => {
  it('are met at their limit and not beyond it', () => {
    expect(atMost('', 20, 20).pass).toBe(true);
    expect(atMost('', 20.1, 20).pass).toBe(false);
    expect(atLeast('', 90, 90).pass).toBe(true);
    expect(atLeast('', 89.9, 90).pass).toBe(false);
    expect(equals('', 1, 0).pass).toBe(false);
    expect(holds('', false, 'no').pass).toBe(false);
  });

  it('fail where what was waited for never came', () => {
    expect(atMost('', null, 20)).toMatchObject({ pass: false, value: 'never' });
    expect(atLeast('', null, 0).pass).toBe(false);
  });
});

describe('the reliability page', () => {
  it('has the failed ones first, then those that were not measured or not run', () => {
    const failed = result(3, { criteria: [equals('lost', 2, 0)] });
    const skipped = result(2, { criteria: [], skipped: 'needs root' });
    const page = reliabilityPage([result(1), skipped, failed], [{ id: 4, title: 'fault 4' }]);
    const rows = page.split('\n').filter((line) => /^\| \d/.test(line));
    expect(rows.map((row) => Number(row.split('|')[1]))).toEqual([3, 4, 2, 1]);
    expect(page).toContain('1 passed, 1 failed, 1 could not be run, 1 not measured.');
    expect(page).toContain('| lost | = 0 | 2 | **failed** |');
    expect(page).toContain('needs root');
  });

  it('says when and on what each was measured, and what others took of the machine', () => {
    const page = reliabilityPage([result(1)], [result(1)]);
    expect(page).toContain('2026-01-02 03:04 UTC, 7 s, on 2 cores of a cpu, 8 GiB, Node v24.0.0.');
    expect(page).toContain('| 25 % |');
  });

  it('replaces only what was measured again', () => {
    const again = result(2, { seconds: 9 });
    expect(mergeResults([result(1), result(2)], [again])).toEqual([result(1), again]);
    expect(mergeResults([], [again])).toEqual([again]);
  });
});
