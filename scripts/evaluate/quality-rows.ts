// What each evaluation's report says, as rows of the quality page: our number, what it is held against, the difference.
// A report is named `<evaluation>.json` or `<evaluation>-<data set>.json`. Called by quality.ts.

export interface QualityRow {
  table: string;
  figure: string;
  ours: number;
  /** What it is held against, and where that comes from; null where the row only shows. */
  against: { value: number; of: string } | null;
  /** 1: more is better; −1: less is. */
  sense: 1 | -1;
  /** False where `against` is a yardstick to see, not a bound to keep. */
  bound: boolean;
}

export interface QualityTable {
  title: string;
  /** Data, split, size, seed, time. */
  conditions: string;
  rows: QualityRow[];
}

type Json = Record<string, unknown>;

/** A number at a path of keys. @throws naming the path where there is none. */
function number(report: Json, ...path: string[]): number {
  let value: unknown = report;
  for (const key of path) value = (value as Json | undefined)?.[key];
  if (typeof value !== 'number' || !Number.isFinite(value)) {
    throw new Error(`has no number at ${path.join('.')}`);
  }
  return value;
}

function object(report: Json, ...path: string[]): Json {
  let value: unknown = report;
  for (const key of path) value = (value as Json | undefined)?.[key];
  if (typeof value !== 'object' || value === null) throw new Error(`has nothing at ${path.join('.')}`);
  return value as Json;
}

function maker(table: string) {
  return (
    figure: string,
    ours: number,
    against: { value: number; of: string } | null = null,
    { sense = 1, bound = true }: { sense?: 1 | -1; bound?: boolean } = {},
  ): QualityRow => ({ table, figure, ours, against, sense, bound });
}

const ECE_BOUND = 0.01;
const shown = { bound: false };

function kuairand(report: Json): QualityTable {
  const title = 'KuaiRand: ranking, retrieval and both';
  const row = maker('kuairand');
  const rows: QualityRow[] = [];
  for (const [label, target] of Object.entries({ click: 0.765, long_view: 0.765, like: 0.875 })) {
    const auc = number(report, 'ranking', label, 'auc');
    const lightgbm = number(report, 'ranking', label, 'lightgbm');
    rows.push(row(`AUC ${label}`, auc, { value: target, of: 'target' }));
    rows.push(
      row(`AUC ${label}`, auc, { value: lightgbm - 0.003, of: 'LightGBM, same features, less .003' }),
    );
  }
  for (const name of ['recall@100', 'recall@200', 'recall@1000']) {
    const value = number(report, 'retrieval', name, 'value');
    const popularity = number(report, 'retrieval', name, 'popularity');
    const decayed = number(report, 'retrieval', name, 'decayedPopularity');
    rows.push(row(name, value, { value: popularity + 0.04, of: 'popularity of the run + .04' }));
    rows.push(row(name, value, { value: decayed + 0.04, of: 'popularity over 24 h of the run + .04' }));
  }
  const two = number(report, 'twoStage', 'twoStage');
  rows.push(
    row('two stages, NDCG@50', two, {
      value: number(report, 'twoStage', 'retrieval'),
      of: 'retrieval alone',
    }),
  );
  rows.push(
    row('two stages, NDCG@50', two, { value: number(report, 'twoStage', 'ranking'), of: 'ranking alone' }),
  );
  rows.push(...calibration(report, 'trainer', row));
  const served = (name: string, ...path: string[]) =>
    row(`through the service alone: ${name}`, number(report, 'served', ...path));
  rows.push(served('AUC click', 'auc', 'click'), served('AUC long_view', 'auc', 'long_view'));
  rows.push(served('AUC like', 'auc', 'like'), served('recall@1000', 'recall@1000'));
  rows.push(
    served('NDCG@50, ranked', 'ndcg@50', 'ranked'),
    served('NDCG@50, re-ranked', 'ndcg@50', 'reranked'),
  );
  const conditions = `${number(report, 'impressions')} impressions, tested from ${report.testFrom}`;
  return { title, conditions, rows };
}

function calibration(report: Json, at: string, row: ReturnType<typeof maker>): QualityRow[] {
  return Object.entries(object(report, at, 'calibration')).flatMap(([label, value]) => {
    const figures = value as Json;
    const chance = number(figures, 'followed', 'eceOfChance');
    return [
      row(
        `calibration error ${label}`,
        number(figures, 'followed', 'ece'),
        { value: ECE_BOUND, of: `bound; ${chance.toFixed(4)} where every probability is right` },
        { sense: -1 },
      ),
      row(`calibration error ${label}, one map of before the test`, number(figures, 'fixed', 'ece'), null, {
        sense: -1,
      }),
    ];
  });
}

function ebnerd(report: Json): QualityTable {
  const row = maker('ebnerd');
  const auc = number(report, 'auc');
  return {
    title: 'EB-NeRD: articles in view of a news impression',
    conditions: `${number(report, 'lists')} lists, tested from ${report.testFrom}`,
    rows: [
      row('AUC within an impression', auc, { value: 0.755, of: 'target' }),
      row('AUC within an impression', auc, {
        value: number(report, 'floors', 'counter'),
        of: 'clicks decayed over 2 h',
      }),
      row('AUC within an impression', auc, { value: number(report, 'floors', 'newest'), of: 'newest first' }),
      row(
        'AUC within an impression',
        auc,
        { value: number(report, 'lightgbm_auc'), of: 'LightGBM, same features' },
        shown,
      ),
      ...calibration(report, 'trainer', row),
      row('through the service alone: AUC', number(report, 'served', 'auc')),
    ],
  };
}

function globo(report: Json): QualityTable {
  const row = maker('globo');
  const hr = number(report, 'hr@20');
  const floor = number(report, 'popularityAndTogether', 'hr20');
  return {
    title: 'Globo: the next click of a news stream, learned as the clicks arrive',
    conditions: `${number(report, 'clicks')} clicks, ${number(report, 'targets')} targets, tested from ${report.testFrom}`,
    rows: [
      row('HR@20', hr, { value: floor + 0.03, of: 'decayed popularity + co-occurrence of the run + .03' }),
      row('HR@20', hr, { value: number(report, 'lastHour', 'hr20'), of: 'popularity of the last hour' }),
      ...(report.served === undefined
        ? []
        : [
            row('through the service alone: HR@20', number(report, 'served', 'hr20')),
            row(
              'through the service alone: recall@1000 of its sources',
              number(report, 'served', 'recall@1000'),
            ),
          ]),
    ],
  };
}

/** BARS (Zhu et al., SIGIR 2022): test AUC by data set. */
const PUBLISHED_CTR: Record<string, Record<string, number>> = {
  frappe_x1: { DNN: 0.9833, DCNv2: 0.9845, FinalMLP: 0.9861 },
};

function ctr(report: Json, data: string): QualityTable {
  const row = maker(`ctr-${data}`);
  const auc = number(report, 'auc');
  const published = Object.entries(PUBLISHED_CTR[data] ?? {});
  const { rows } = object(report, 'data') as { rows: Record<string, number> };
  const sizes = Object.values(rows).join(' / ');
  return {
    title: `Click-through on ${data || 'a libFM folder'}`,
    conditions: `${sizes} rows, budget ${number(report, 'budgetMinutes')} minutes, ${report.architecture}`,
    rows: [
      ...published.map(([model, value]) => row('test AUC', auc, { value, of: `${model}, BARS` })),
      row('test AUC', auc, { value: number(report, 'lightgbm', 'test', 'auc'), of: 'LightGBM of the run' }),
      row(
        'test logloss',
        number(report, 'logloss'),
        { value: number(report, 'lightgbm', 'test', 'logloss'), of: 'LightGBM of the run' },
        { sense: -1 },
      ),
      row('calibration error', number(report, 'ece'), { value: ECE_BOUND, of: 'bound' }, { sense: -1 }),
    ],
  };
}

/** Recall@20 and NDCG@20, BARS and the papers: [model, recall, ndcg, is it the bound]. */
const PUBLISHED_RETRIEVAL: Record<string, [string, number, number, boolean][]> = {
  gowalla: [
    ['BSPM, SIGIR 2023', 0.192, 0.1597, true],
    ['SimpleX', 0.1872, 0.1557, false],
    ['UltraGCN', 0.1862, 0.158, false],
    ['LightGCN', 0.183, 0.1554, false],
  ],
};

function retrieval(report: Json, data: string): QualityTable {
  const row = maker(`retrieval-${data}`);
  const published = PUBLISHED_RETRIEVAL[data] ?? [];
  const [recall, ndcg] = [number(report, 'recall@20'), number(report, 'ndcg@20')];
  return {
    title: `Retrieval on ${data || 'a LightGCN-style folder'}`,
    conditions: `${number(report, 'seconds').toFixed(0)} s, tuning included`,
    rows:
      published.length > 0
        ? published.flatMap(([of, r, n, bound]) => [
            row('Recall@20', recall, { value: r, of }, { bound }),
            row('NDCG@20', ndcg, { value: n, of }, { bound }),
          ])
        : [row('Recall@20', recall), row('NDCG@20', ndcg)],
  };
}

function ope(report: Json): QualityTable {
  const row = maker('ope');
  const campaigns = report.campaigns as Json[];
  return {
    title: 'Off-policy evaluation on Open Bandit',
    conditions:
      'value of one policy estimated from the log of the other, against its own log; distance in standard errors of both',
    rows: campaigns
      .filter(({ of, truth, errors }) => of === 'random' && truth !== null && errors !== null)
      .flatMap((campaign) =>
        ['snips', 'dr'].map((name) =>
          row(
            `${campaign.campaign}: random from ${campaign.from}, ${name.toUpperCase()}, distance`,
            Math.abs(number(campaign, 'errors', name)),
            { value: 1.96, of: '95 % of right estimates' },
            { sense: -1 },
          ),
        ),
      ),
  };
}

function demo(report: Json): QualityTable {
  const row = maker('demo');
  const value = (order: string, figure: string) => number(report, 'orders', order, figure);
  const simple = Math.max(...['random', 'newest', 'popular'].map((order) => value(order, 'ndcg')));
  const [nearest, ranked] = [value('ann', 'ndcg'), value('ranked', 'ndcg')];
  const tired = value('ranked', 'ndcgWithFatigue');
  return {
    title: 'The generated world, stage by stage',
    conditions: `${number(report, 'posts')} posts, ${number(report, 'users')} users asked; NDCG@50 against the true affinities`,
    rows: [
      row('nearest', nearest, { value: simple, of: 'the best of random, newest and popular' }),
      row('ranked', ranked, { value: nearest, of: 'nearest' }),
      row('re-ranked, with fatigue', value('slate', 'ndcgWithFatigue'), { value: tired, of: 'ranked' }),
      row('re-ranked, without fatigue', value('slate', 'ndcg'), { value: ranked, of: 'ranked' }, shown),
    ],
  };
}

const READERS: Record<string, (report: Json, data: string) => QualityTable> = {
  kuairand,
  ebnerd,
  globo,
  ctr,
  retrieval,
  ope,
  demo,
};

export const EVALUATIONS = Object.keys(READERS);

/** @param name of the report without `.json`. @throws naming what the report lacks; null where the name is no evaluation's. */
export function readReport(name: string, report: unknown): QualityTable | null {
  const [what] = name.split('-', 1);
  const reader = READERS[what];
  if (!reader) return null;
  if (typeof report !== 'object' || report === null) throw new Error('is no object');
  return reader(report as Json, name.slice(what.length + 1));
}

/** What is missing to the bound, negative where it is missed; null where nothing is to be kept. */
export function difference({ ours, against, sense }: QualityRow): number | null {
  return against === null ? null : sense * (ours - against.value);
}
