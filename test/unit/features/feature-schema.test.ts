import { describe, expect, it } from 'vitest';
import { FeedrankError } from '../../../src/errors.ts';
import { compilePlan, FEATURES, FULL_WIDTH, fullOffset } from '../../../src/features/feature-schema.ts';

describe('feature schema', () => {
  it('names every feature once, with a version', () => {
    const ids = FEATURES.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(id).toMatch(/^[a-z_]+@[1-9]\d*$/);
  });

  it('compiles a plan in the order of the manifest', () => {
    const plan = compilePlan(['post_rates@1', 'user_cold@1']);
    const rates = fullOffset('post_rates@1');
    expect(plan.width).toBe(7);
    expect([...plan.columns]).toEqual(
      [0, 1, 2, 3, 4, 5].map((i) => rates + i).concat(fullOffset('user_cold@1')),
    );
    expect(plan.has('user_cold@1')).toBe(true);
    expect(plan.has('hadamard@1')).toBe(false);
  });

  it('covers every column of the full row when all features are named', () => {
    const plan = compilePlan(FEATURES.map(({ id }) => id));
    expect([...plan.columns]).toEqual([...Array(FULL_WIDTH).keys()]);
  });

  it.each([
    [['post_age@1', 'post_age@2'], 'unknown feature "post_age@2"'],
    [['post_age'], 'unknown feature "post_age"'],
    [['post_age@1', 'post_age@1'], 'post_age@1 is named twice'],
    [[], 'the list is empty'],
  ])('refuses %j', (ids, reason) => {
    expect(() => compilePlan(ids)).toThrow(FeedrankError);
    expect(() => compilePlan(ids)).toThrow(reason);
  });
});
