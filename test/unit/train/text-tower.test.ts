import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadModelArtifact } from '../../../src/features/model-artifact.ts';

const PYTHON = process.env.FEEDRANK_PYTHON;
const REASON = PYTHON ? '' : ' (skipped: FEEDRANK_PYTHON is not set)';
const TRAIN = resolve(import.meta.dirname, '../../../scripts/train');
const LABELS = 120;
const TITLES_PER_LABEL = 24;
/** Python takes seconds to start, several times as many where other tests run beside it. */
const PATIENT = { timeout: 180_000 };

/** Titles of five words: three of their label's own, two that every label uses. */
const WRITE_TITLES = `
import random, sys
import pyarrow as pa, pyarrow.parquet as pq
draw = random.Random(1)
rows = [(' '.join(f'word{label}x{draw.randrange(6)}' for _ in range(3)) + f' common{draw.randrange(40)} common{draw.randrange(40)}', f'label{label}')
        for label in range(${LABELS}) for _ in range(${TITLES_PER_LABEL})]
draw.shuffle(rows)
pq.write_table(pa.table({'title': [r[0] for r in rows], 'subreddit': [r[1] for r in rows]}), sys.argv[1])`;

interface Ended {
  code: number | null;
  output: string;
}

let dir: string;

function start(args: string[]): {
  child: ReturnType<typeof spawn>;
  output: () => string;
  ended: Promise<Ended>;
} {
  const env = { ...process.env, OMP_NUM_THREADS: '1' };
  const child = spawn(PYTHON!, args, { cwd: TRAIN, stdio: ['ignore', 'pipe', 'pipe'], env });
  let output = '';
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const ended = once(child, 'close').then(([code]) => ({ code, output }) as Ended);
  return { child, output: () => output, ended };
}

function flags(name: string): string[] {
  const places = [
    '--titles',
    join(dir, 'titles.parquet'),
    '--out',
    join(dir, name),
    '--checkpoints',
    join(dir, `${name}-ck`),
  ];
  const small = [
    '--word-rows',
    '1024',
    '--char-rows',
    '1024',
    '--batch',
    '128',
    '--epochs',
    '6',
    '--checks',
    '4',
  ];
  const quick = ['--report-queries', '200', '--checkpoint-seconds', '0', '--progress-seconds', '0'];
  return ['text_tower.py', ...places, ...small, ...quick];
}

async function manifestOf(name: string): Promise<{ metrics: Record<string, unknown> }> {
  return JSON.parse(await readFile(join(dir, name, 'post-tower', '1', 'manifest.json'), 'utf8'));
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'feedrank-text-tower-'));
  if (!PYTHON) return;
  const written = await start(['-c', WRITE_TITLES, join(dir, 'titles.parquet')]).ended;
  expect(written.code, written.output).toBe(0);
}, PATIENT.timeout);

afterAll(() => rm(dir, { recursive: true, force: true }));

describe.skipIf(!PYTHON)(`pre-training of the text table${REASON}`, PATIENT, () => {
  let whole: Ended;

  beforeAll(async () => {
    whole = await start(flags('whole')).ended;
    expect(whole.code, whole.output).toBe(0);
  }, PATIENT.timeout);

  it('puts titles of labels that it never saw nearer to each other than chance', async () => {
    const { agreement10 } = (await manifestOf('whole')).metrics as {
      agreement10: { tower: number; chance: number; testLabels: number };
    };
    expect(agreement10.testLabels).toBeGreaterThan(0);
    expect(agreement10.tower).toBeGreaterThan(20 * agreement10.chance);
  });

  it('exports a model that the service can open, which names its maker and no path of the machine', async () => {
    const artifact = await loadModelArtifact(join(dir, 'whole', 'post-tower', '1'));
    const text = Buffer.from(artifact.bytes).toString('latin1');
    expect(text).toContain('feedrank');
    for (const trace of ['pytorch', 'site-packages', '.py', import.meta.dirname])
      expect(text).not.toContain(trace);
  });

  it('killed in the middle, its newest checkpoint torn, goes on and ends where it would have ended', async () => {
    const { child, output, ended } = start(flags('killed'));
    while (!/text [3-9]\d\/\d+ /.test(output())) await Promise.race([once(child.stdout!, 'data'), ended]);
    child.kill('SIGKILL');
    await ended;
    await truncate(join(dir, 'killed-ck', 'text.pt'), 1000);
    const resumed = await start(flags('killed')).ended;
    expect(resumed.code, resumed.output).toBe(0);
    expect(resumed.output).toMatch(/text\.pt: is torn.*not used/);
    const at = Number(/text: goes on from step (\d+) of/.exec(resumed.output)![1]);
    expect(at).toBeGreaterThanOrEqual(28);
    const { metrics } = await manifestOf('killed');
    expect(metrics).toEqual((await manifestOf('whole')).metrics);
  });
});
