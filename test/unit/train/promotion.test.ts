import { describe, expect, it } from 'vitest';
import { type PromotionRules, promotion } from '../../../scripts/train/promotion.ts';
import type { Comparison } from '../../../scripts/train/train-ranker.ts';

const rules = (changed: Partial<PromotionRules> = {}): PromotionRules => ({
  rollout: 'manual',
  noPromote: false,
  force: false,
  ...changed,
});
const compared = (worse: boolean) => ({ against: 'ranker@1', worse }) as unknown as Comparison;

describe('what was trained', () => {
  it.each([
    [true, 'no worse', rules(), compared(false), 4],
    [true, 'with nothing before it', rules(), null, 4],
    [false, 'worse', rules(), compared(true), 4],
    [false, 'too slow', rules(), compared(false), 6],
    [true, 'worse, but forced', rules({ force: true }), compared(true), 4],
    [false, 'not to be promoted', rules({ noPromote: true }), compared(false), 4],
    [false, 'left to the service', rules({ rollout: 'auto' }), compared(false), 4],
    [false, 'left to the service though forced', rules({ rollout: 'auto', force: true }), compared(false), 4],
  ])('serves at once: %s, when it is %s', (promoted, _, how, comparison, ms) => {
    const decided = promotion('ranker', how, comparison, ms);
    expect(decided.promoted).toBe(promoted);
    expect(decided.reason).not.toBe('');
  });

  it('is promoted by the trainer where the service has no gates for it', () => {
    for (const name of ['post-tower', 'ranker-light']) {
      expect(promotion(name, rules({ rollout: 'auto' }), compared(false)).promoted).toBe(true);
    }
  });
});
