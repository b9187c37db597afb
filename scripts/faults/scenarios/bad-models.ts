// Fault 6: bad models land in the registry of a service that takes new versions by itself.
import { runBadModels } from '../../../test/fault/models/bad-model-fault.ts';
import { type Criterion, equals, holds } from '../criterion.ts';
import type { Scenario } from '../scenario.ts';

const MODELS = 100;
const QUICK_MODELS = 10;

export const badModels: Scenario = {
  id: 6,
  title: '100 bad models: NaN, Inf, constant, wrong shape, truncated, bit-flipped, slow, worse',
  async run(context) {
    const count = context.quick ? QUICK_MODELS : MODELS;
    const report = await runBadModels(count, ({ kind, action }, done) => {
      if (done % 10 === 0) context.note(`${done} of ${count}, the last (${kind}) ${action}`);
    });
    const { results, answers, failures, byModel, served } = report;
    const away = results.filter(
      ({ action, reason }) => ['refused', 'rolled_back'].includes(action) && reason,
    );
    const slipped = results.filter((result) => !away.includes(result));
    const models = Object.keys(byModel);
    const criteria: Criterion[] = [
      {
        ...equals('turned away with a reason', away.length, count),
        value: `${away.length}${slipped.length > 0 ? ` (not: ${slipped.map(({ kind, detail }) => `${kind}, ${detail}`).join('; ')})` : ''}`,
      },
      holds(
        'no reader’s answer came from one',
        models.length === 1,
        Object.entries(byModel)
          .map(([model, n]) => `${model}: ${n}`)
          .join(', '),
      ),
      holds(
        'the old one serves (the committed ranker, numbered anew)',
        models.includes(served) || models[0]?.startsWith(served),
        served,
      ),
      {
        ...equals(`readers’ failures, of ${answers} answers`, failures.length, 0),
        value: `${failures.length}${failures[0] ? ` (${failures[0]})` : ''}`,
      },
    ];
    return criteria;
  },
};
