import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FEATURES } from '../../../src/features/feature-schema.ts';
import { loadModelArtifact } from '../../../src/features/model-artifact.ts';
import { checkRanker } from '../../../src/ranking/onnx-model-check.ts';
import { OnnxRanker } from '../../../src/ranking/onnx-ranker.ts';
import { HEADS } from '../../../src/vocabulary.ts';
import { writeTinySet } from './tiny-set.ts';

const PYTHON = process.env.FEEDRANK_PYTHON;
const REASON = PYTHON ? '' : ' (skipped: FEEDRANK_PYTHON is not set)';
const TRAIN = resolve(import.meta.dirname, '../../../scripts/train');
/** What another order of float additions may change. */
const SAME = 1e-4;

interface Run {
  code: number | null;
  output: string;
  figures: {
    figures: Record<
      string,
      { meanAuc: number; test: Record<string, { auc: number; logLoss: number; ece: number }> }
    >;
    architectures: Record<string, { meanAuc: number; msPer1000Rows: number; parameters: number }>;
    chosen: string;
    workers: number;
    curves: Record<string, { resumed_at: number[]; loss: [number, number][]; epochs: { auc: number }[] }>;
  };
}

let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'feedrank-trainer-'));
  if (PYTHON) await writeTinySet(join(dir, 'set'));
});

afterAll(() => rm(dir, { recursive: true, force: true }));

function start(launcher: string[], args: string[]): { child: ChildProcess; output: () => string } {
  const all = [...launcher, join(TRAIN, 'ranker.py'), ...args, '--threads', '1', '--device', 'cpu'];
  const child = spawn(PYTHON!, all, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, OMP_NUM_THREADS: '1' },
  });
  let output = '';
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  return { child, output: () => output };
}

function flags(name: string, seed = 1): string[] {
  const to = (file: string) => join(dir, name, file);
  const small = ['--epochs', '3', '--batch', '256', '--seed', String(seed), '--checkpoint-seconds', '0'];
  const places = ['--data', join(dir, 'set'), '--out', to('models'), '--checkpoints', to('checkpoints')];
  return [...places, '--json', join(dir, `${name}.json`), '--version', '1', ...small];
}

async function train(name: string, more: string[] = [], launcher: string[] = [], seed = 1): Promise<Run> {
  const { child, output } = start(launcher, [...flags(name, seed), ...more]);
  const [code] = (await once(child, 'close')) as [number | null];
  const figures = await readFile(join(dir, `${name}.json`), 'utf8').then(JSON.parse, () => null);
  return { code, output: output(), figures };
}

/** Largest difference of any head's AUC or log loss on the reported rows. */
function difference(a: Run, b: Run): number {
  const of = ({ figures }: Run) =>
    Object.values(figures.figures).flatMap(({ test }) =>
      Object.values(test).flatMap(({ auc, logLoss }) => [auc, logLoss]),
    );
  const other = of(b);
  return Math.max(...of(a).map((value, i) => Math.abs(value - other[i])));
}

/** Python takes seconds to start, several times as many where other tests run beside it. */
const PATIENT = { timeout: 180_000 };

describe.skipIf(!PYTHON)(`training of a ranker${REASON}`, PATIENT, () => {
  let whole: Run;

  beforeAll(async () => {
    whole = await train('whole');
    expect(whole.code, whole.output).toBe(0);
  }, PATIENT.timeout);

  it('finds the signal, calibrated, and tells how the training went', () => {
    const { figures, curves } = whole.figures;
    for (const name of ['ranker', 'ranker-light']) {
      expect(figures[name].meanAuc).toBeGreaterThan(0.75);
      expect(curves[name].loss.length).toBeGreaterThan(20);
      expect(curves[name].loss.at(-1)![1]).toBeLessThan(curves[name].loss[0][1]);
      expect(curves[name].epochs).toHaveLength(3);
    }
    // 400 rows: an error of .06 is two standard deviations of the rate.
    expect(figures.ranker.test.click.ece).toBeLessThan(0.08);
    expect(whole.output).toMatch(/ranker \d+\/39 .* ETA \d+ s/);
  });

  it('exports a model that the service can open, without a path of the machine in it', async () => {
    for (const name of ['ranker', 'ranker-light']) {
      const artifact = await loadModelArtifact(join(dir, 'whole', 'models', name, '1'));
      const ranker = await OnnxRanker.open(artifact, 'cpu');
      expect(ranker.tower).toBe('post-tower@1');
      await ranker.release();
      const text = Buffer.from(artifact.bytes).toString('latin1');
      for (const trace of ['site-packages', 'scripts/train', '.py', import.meta.dirname])
        expect(text).not.toContain(trace);
    }
  });

  it('exports int8 only as a form that keeps the order and in which a row does not depend on its batch', async () => {
    const { manifest } = await loadModelArtifact(join(dir, 'whole', 'models', 'ranker', '1'));
    const int8 = manifest.int8 as {
      exported: boolean;
      form: string;
      tried: Record<string, { rankCorrelation: number; aloneVersusBatch: number }>;
    };
    expect(Object.keys(int8.tried)[0]).toBe('static QDQ');
    expect('model.int8.onnx' in manifest.files).toBe(int8.exported);
    if (int8.exported) {
      expect(int8.tried[int8.form].rankCorrelation).toBeGreaterThanOrEqual(0.995);
      expect(int8.tried[int8.form].aloneVersusBatch).toBeLessThanOrEqual(1e-6);
    }
  });

  it('in the large size splits the request off, exactly, and exports an int8 form that the service can check', async () => {
    const set = join(dir, 'requests');
    const features = ['user_mix@1', 'user_cold@1', 'user_similarity@1', 'post_rates@1', 'post_age@1'];
    await writeTinySet(set, { rows: 2400, features: [...features, 'context_position@1'] });
    const { code, output, figures } = await train('large', [
      '--data',
      set,
      '--size',
      'large',
      '--epochs',
      '1',
    ]);
    expect(code, output).toBe(0);
    expect(Object.keys(figures.figures)).toEqual(['ranker-dcn']);
    expect(figures.architectures['ranker-dcn'].parameters).toBeGreaterThan(500_000);
    const modelsDir = join(dir, 'large', 'models');
    const artifact = await loadModelArtifact(join(modelsDir, 'ranker-dcn', '1'));
    expect(artifact.manifest.inputs).toEqual(['features', 'user']);
    expect(artifact.manifest.perRequest).toEqual(['user_mix@1', 'user_cold@1']);
    expect(artifact.bytes.length).toBeLessThan(2_000_000);
    expect(artifact.int8).toBeDefined();
    // Golden outputs, from the network that reads everything with every candidate, are reproduced by the split one.
    await checkRanker({ modelsDir, name: 'ranker-dcn', version: '1' });
    for (const int8 of ['off', 'on'] as const) {
      const ranker = await OnnxRanker.open(artifact, 'cpu', int8);
      expect(ranker.preRank).toBe(250);
      await ranker.release();
    }
  });

  it('killed in the middle, its newest checkpoint torn, goes on and ends where it would have ended', async () => {
    const { child, output } = start([], flags('killed'));
    while (!/ranker epoch 1: /.test(output()))
      await Promise.race([once(child.stdout!, 'data'), once(child, 'close')]);
    child.kill('SIGKILL');
    await once(child, 'close');
    const checkpoint = join(dir, 'killed', 'checkpoints', 'ranker.pt');
    await truncate(checkpoint, 1000);
    await writeFile(`${checkpoint}.4242.new`, 'half of one that was being written');
    const resumed = await train('killed');
    expect(resumed.code, resumed.output).toBe(0);
    expect(resumed.output).toMatch(/ranker\.pt: is torn.*not used/);
    expect(resumed.output).toMatch(/ranker: goes on from step \d+ of 39/);
    // Step 13 ends the epoch and may not be saved yet; 12 is torn or newer; the one before is whole.
    expect(resumed.figures.curves.ranker.resumed_at[0]).toBeGreaterThanOrEqual(11);
    expect(difference(whole, resumed)).toBeLessThanOrEqual(SAME);
  });

  it('with another seed gives another model, not much better or worse', async () => {
    const other = await train('seed', [], [], 2);
    expect(other.code, other.output).toBe(0);
    expect(difference(whole, other)).toBeGreaterThan(SAME);
    expect(
      Math.abs(other.figures.figures.ranker.meanAuc - whole.figures.figures.ranker.meanAuc),
    ).toBeLessThan(0.03);
  });

  it('compares the architectures and LightGBM on the same rows, and ships one within the budget', async () => {
    const { code, output, figures } = await train('compared', ['--compare', '--epochs', '1']);
    expect(code, output).toBe(0);
    const names = ['MLP', 'DCN-v2', 'FinalMLP', 'MaskNet', 'HistoryTransformer', 'LightGBM', 'ranker-light'];
    expect(Object.keys(figures.architectures).sort()).toEqual(names.sort());
    for (const name of names) {
      expect(figures.architectures[name].meanAuc, name).toBeGreaterThan(0.6);
      expect(figures.architectures[name].parameters, name).toBeGreaterThan(0);
    }
    expect(names).toContain(figures.chosen);
    // The service does not give a ranker the history's vectors.
    expect(figures.chosen).not.toBe('HistoryTransformer');
    const artifact = await loadModelArtifact(join(dir, 'compared', 'models', 'ranker', '1'));
    expect(artifact.manifest.architecture).toBe(figures.chosen);
  });

  it('in two processes learns what one learns', async () => {
    const launcher = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2'];
    const two = await train('two', [], launcher);
    expect(two.code, two.output).toBe(0);
    expect(two.figures.workers).toBe(2);
    expect(Math.abs(two.figures.figures.ranker.meanAuc - whole.figures.figures.ranker.meanAuc)).toBeLessThan(
      0.02,
    );
  });
});

/** Lines that a Python program prints which sees the trainer's modules. */
async function python(script: string[], args: string[]): Promise<string[]> {
  const all = ['-c', script.join('\n'), ...args];
  const child = spawn(PYTHON!, all, { cwd: TRAIN, stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  await once(child, 'close');
  return output.trim().split('\n');
}

describe.skipIf(!PYTHON)(`a trainer whose parent was killed${REASON}`, PATIENT, () => {
  it('ends, so that the next run finds no other at work', async () => {
    const script =
      'import time; from distributed import join; join("cpu"); print("joined", flush=True); time.sleep(100)';
    const env = { ...process.env, FEEDRANK_ENDS_WITH_STDIN: '1' };
    const child = spawn(PYTHON!, ['-c', script], { cwd: TRAIN, env, stdio: ['pipe', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    const ended = once(child, 'close');
    // What the kernel does with the pipe of a killed process.
    child.stdin.destroy();
    expect((await ended)[0]).toBe(1);
  });
});

describe.skipIf(!PYTHON)(`networks of the ranker${REASON}`, PATIENT, () => {
  it('have ten million parameters and more in their heavy size', async () => {
    const script = [
      'import sys; from pathlib import Path',
      'from ranker_data import TrainingSet; from ranker_models import ARCHITECTURES, make_net',
      'data = TrainingSet(Path(sys.argv[1]))',
      'for name in ARCHITECTURES: print(sum(p.numel() for p in make_net(name, "heavy", data).parameters()))',
    ];
    const features = FEATURES.map(({ id }) => id).filter((id) => id !== 'hadamard@1');
    await writeTinySet(join(dir, 'wide'), { rows: 1200, features });
    const counts = (await python(script, [join(dir, 'wide')])).map(Number);
    expect(counts).toHaveLength(5);
    for (const count of counts) expect(count).toBeGreaterThanOrEqual(10_000_000);
  });
});

describe.skipIf(!PYTHON)(`training sets that cannot be learned from${REASON}`, PATIENT, () => {
  /** Opens every folder in one process; the reason for each. */
  const reasons = (folders: string[]): Promise<string[]> => {
    const script = [
      'import sys; from pathlib import Path; from ranker_data import TrainingSet',
      'for folder in sys.argv[1:]:',
      '    try: TrainingSet(Path(folder)); print("opened")',
      '    except SystemExit as error: print(error)',
    ];
    return python(script, folders);
  };

  it('are refused with the reason', async () => {
    const at = (name: string) => join(dir, name);
    await writeTinySet(at('nan'), {
      rows: 1200,
      change: (row, x) => row === 700 && x.fill(Number.NaN, 1, 2),
    });
    await writeTinySet(at('never'), { rows: 1200, click: () => false });
    await writeTinySet(at('always'), { rows: 1200, click: () => true });
    await writeTinySet(at('few'), { rows: 300 });
    await writeTinySet(at('torn'), { rows: 1200 });
    await truncate(join(at('torn'), 'features.f32'), 5000);
    await writeTinySet(at('good'), { rows: 1200 });
    const found = await reasons(['nan', 'never', 'always', 'few', 'torn', 'absent', 'good'].map(at));
    expect(found[0]).toContain('feature post_rates@1: not finite in row 700');
    expect(found[1]).toContain('no head has both outcomes often enough');
    expect(found[2]).toContain(`positives: click 1200, ${HEADS[1]} 0`);
    expect(found[3]).toContain('300 rows are too few');
    expect(found[4]).toContain('5000 bytes');
    expect(found[5]).toContain('no meta.json');
    expect(found[6]).toBe('opened');
  });
});
