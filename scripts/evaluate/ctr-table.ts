// What scripts/train/ctr.py leaves in result.json, and the table of it that `evaluate -- ctr` prints.

export interface CtrQuality {
  auc: number;
  logloss: number;
}

export interface CtrTest extends CtrQuality {
  /** Expected calibration error over 15 bins of equal size. */
  ece: number;
}

export interface CtrModel {
  name: string;
  validation: CtrQuality;
  test: CtrTest;
}

export interface CtrResult extends CtrTest {
  /** One architecture, or `ensemble` with its members. */
  architecture: string;
  /** The single model that is best on validation. */
  single: CtrModel;
  /** Null where no combination is better on validation than the single model. */
  ensemble: CtrModel | null;
  /** Each architecture's best on validation. */
  architectures: CtrModel[];
  lightgbm: CtrModel;
  floors: CtrModel[];
  peakRssMb: number;
}

export function printCtr(result: CtrResult, stream: NodeJS.WritableStream): void {
  const rows: [string, CtrModel][] = [
    ...result.floors.map((model): [string, CtrModel] => [`floor ${model.name}`, model]),
    ['yardstick lightgbm', result.lightgbm],
    ...result.architectures.map((model): [string, CtrModel] => [model.name, model]),
    [`best single (${result.single.name})`, result.single],
    ...(result.ensemble === null ? [] : [['ensemble', result.ensemble] as [string, CtrModel]]),
  ];
  const lines = rows.map(([name, { validation, test }]) =>
    [
      name.padEnd(26),
      validation.auc.toFixed(5),
      validation.logloss.toFixed(5),
      test.auc.toFixed(5),
      test.logloss.toFixed(5),
      test.ece.toFixed(5),
    ].join('  '),
  );
  const header = `${''.padEnd(26)}  validation        test`;
  const columns = `${''.padEnd(26)}  AUC      logloss  AUC      logloss  ECE`;
  const headline = `test AUC ${result.auc.toFixed(5)}, logloss ${result.logloss.toFixed(5)} (${result.architecture})`;
  stream.write(`${[header, columns, ...lines, headline].join('\n')}\n`);
}
