import { describe, expect, it } from 'vitest';
import type { RankerPlan, ShelfReport } from '../../src/ranking/ranker-shelf.ts';
import { ServingModels } from '../../src/serving-models.ts';

/** Two workers that open what they are told, but for the versions in `bad`, which the second one refuses. */
function twoWorkers(bad: string[] = []) {
  const plans: RankerPlan[] = [];
  const refuse = (plan: RankerPlan) =>
    [plan.serving, ...plan.others]
      .filter((version) => version !== null && bad.includes(version))
      .map((version) => ({ name: 'ranker', version: version!, reason: 'gave NaN' }));
  return {
    plans,
    broadcast: async (_kind: string, plan: unknown): Promise<ShelfReport[]> => {
      const told = plan as RankerPlan;
      plans.push(told);
      const open = [...(told.serving === null ? [] : [told.serving]), ...told.others];
      const report = { open, light: told.light, models: [`ranker@${told.serving} on cpu`], problems: [] };
      return [
        { ...report, refused: [] },
        { ...report, refused: refuse(told) },
      ];
    },
  };
}

describe('serving models', () => {
  it('opens the next version beside the one that serves, switches, then closes the old one', async () => {
    const pool = twoWorkers();
    const models = new ServingModels(pool);
    await models.apply({ serving: '1', light: '1', others: [] });
    await models.apply({ serving: '2', light: '1', others: [] });
    expect(pool.plans).toEqual([
      { serving: '1', light: '1', others: [] },
      { serving: '2', light: '1', others: ['1'] },
      { serving: '2', light: '1', others: [] },
    ]);
    expect([models.serving, models.isOpen('1'), models.isOpen('2')]).toEqual(['2', false, true]);
  });

  it('closes a version only when the last request that names it is done', async () => {
    const pool = twoWorkers();
    const models = new ServingModels(pool);
    await models.apply({ serving: '1', light: null, others: [] });
    const done = [models.use('1'), models.use('1')];
    const swapped = models.apply({ serving: '2', light: null, others: [] });
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(models.serving, 'new requests get the new version already').toBe('2');
    expect(pool.plans.at(-1)?.others).toEqual(['1']);
    done[0]();
    done[0]();
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(pool.plans.at(-1)?.others, 'calling twice counts once').toEqual(['1']);
    done[1]();
    expect(await swapped).toEqual([]);
    expect(pool.plans.at(-1)).toEqual({ serving: '2', light: null, others: [] });
  });

  it('keeps what serves when one worker of two refuses the next version', async () => {
    const pool = twoWorkers(['2']);
    const models = new ServingModels(pool);
    await models.apply({ serving: '1', light: null, others: [] });
    expect(await models.apply({ serving: '2', light: null, others: [] })).toEqual([
      { name: 'ranker', version: '2', reason: 'gave NaN' },
    ]);
    expect([models.serving, models.isOpen('2')]).toEqual(['1', false]);
    expect(pool.plans.at(-1)).toEqual({ serving: '1', light: null, others: [] });
  });

  it('leaves a refused trial out and goes on', async () => {
    const models = new ServingModels(twoWorkers(['3']));
    await models.apply({ serving: '1', light: null, others: ['2', '3'] });
    expect([models.serving, models.others]).toEqual(['1', ['2']]);
    expect(models.holds({ serving: '1', light: null, others: ['2'] })).toBe(true);
    expect(models.holds({ serving: '1', light: null, lightTrial: '2', others: ['2'] })).toBe(false);
  });

  it('says when no worker took the models', async () => {
    const models = new ServingModels({ broadcast: async () => [] });
    await expect(models.apply({ serving: '1', light: null, others: [] })).rejects.toMatchObject({
      code: 'unavailable',
    });
  });
});
