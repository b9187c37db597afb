import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cpuBuildOf } from '../../../scripts/train/python-env.ts';
import { openRanker, promotedVersion } from '../../../src/ranking/model-registry.ts';

const COMMAND = resolve(import.meta.dirname, '../../../scripts/train.ts');
const PYTHON = process.env.FEEDRANK_PYTHON;
const REASON = PYTHON ? '' : ' (skipped: FEEDRANK_PYTHON is not set)';

let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'feedrank-train-'));
});

afterAll(() => rm(dir, { recursive: true, force: true }));

async function train(...argv: string[]) {
  const env = { ...process.env, FEEDRANK_PYTHON: PYTHON ?? process.execPath };
  const all = [COMMAND, ...argv, '--out', join(dir, 'models')];
  const child = spawn(process.execPath, all, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let error = '';
  let out = '';
  child.stderr.on('data', (chunk: Buffer) => {
    error += chunk.toString();
  });
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString();
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, out, error };
}

describe('npm run train', () => {
  it.each([
    ['--what must be towers, ranker, all', ['--what', 'everything']],
    ['--device must be auto, cpu, cuda', ['--device', 'tpu']],
    ['--size must be main, large, heavy', ['--size', 'huge']],
    ['--size large is DCN-v2', ['--size', 'large', '--architecture', 'MLP']],
    ['--size large is DCN-v2', ['--size', 'large', '--compare']],
    ['--architecture must be MLP', ['--architecture', 'CNN']],
    ['--workers must be an integer', ['--workers', '0']],
    ['--compare and --architecture exclude each other', ['--compare', '--architecture', 'MLP']],
    ['--no-promote and --force exclude each other', ['--no-promote', '--force']],
    ['--world must be SEED,POSTS,USERS', ['--world', '1,2']],
    ['--data and --world exclude each other', ['--world', '1,2,3', '--data', '.']],
    ['posts.jsonl does not exist', ['--data', tmpdir()]],
  ])('ends with code 2 and one line: %s', async (reason, argv) => {
    const { code, error } = await train(...argv);
    expect(code).toBe(2);
    expect(error).toContain(reason);
    expect(error.trim().split('\n')).toHaveLength(1);
  });

  it('prefers the build of PyTorch without CUDA that satisfies the pin', async () => {
    const requirements = resolve(import.meta.dirname, '../../../scripts/train/requirements.txt');
    expect(cpuBuildOf(await readFile(requirements, 'utf8'))).toMatch(/^torch==\d+\.\d+\.\d+\+cpu$/);
    expect(cpuBuildOf('numpy==2.0\ntorch>=2')).toBeNull();
  });
});

describe.skipIf(!PYTHON)(`npm run train on a small world${REASON}`, { timeout: 300_000 }, () => {
  const models = () => join(dir, 'models');
  const run = async (...argv: string[]) => {
    const json = join(dir, 'figures.json');
    const small = [
      '--epochs',
      '2',
      '--threads',
      '1',
      '--device',
      'cpu',
      '--report',
      join(dir, 'report.html'),
    ];
    const result = await train('--world', '3,2000,200', ...small, ...argv, '--json', json);
    return { ...result, figures: await readFile(json, 'utf8').then(JSON.parse, () => null) };
  };

  it('trains towers and rankers, registers them, and tells of it in one page', async () => {
    const { code, error, figures } = await run('--what', 'all');
    expect(code, error).toBe(0);
    for (const name of ['post-tower', 'user-tower', 'ranker', 'ranker-light']) {
      expect(await promotedVersion(models(), name)).toBe('1');
    }
    expect((await readdir(models())).filter((entry) => entry.startsWith('.'))).toEqual([]);
    const ranker = await openRanker(models(), 'ranker', 'cpu');
    expect(ranker.tower).toBe('post-tower@1');
    await ranker.release();
    expect(figures.registered).toHaveLength(4);
    const page = await readFile(join(dir, 'report.html'), 'utf8');
    expect(page.match(/<svg /g)!.length).toBeGreaterThanOrEqual(5);
    expect(page).not.toMatch(/<script|src=|href=|url\(/);
    for (const part of ['Training loss', 'recall@100', 'mean AUC of the heads', 'ECE'])
      expect(page).toContain(part);
  });

  it('keeps but does not promote towers that have nothing new to be compared on, unless forced', async () => {
    const { code, error, figures } = await run('--what', 'towers');
    expect(code, error).toBe(0);
    expect(figures.registered[0]).toMatchObject({ name: 'post-tower', version: '2', promoted: false });
    expect(figures.registered[0].reason).toContain('0 engagements are newer than what it has learned from');
    expect(await promotedVersion(models(), 'user-tower')).toBe('1');
    const forced = await run('--what', 'towers', '--force');
    expect(forced.figures.registered[1]).toMatchObject({ name: 'user-tower', version: '3', promoted: true });
    expect(await promotedVersion(models(), 'user-tower')).toBe('3');
  });

  it('says why towers cannot be trained', async () => {
    const folder = join(dir, 'empty');
    await mkdir(folder);
    const post = { id: 'p', authorId: 'a', createdAt: Date.UTC(2026, 0, 1), title: 'one' };
    await writeFile(join(folder, 'posts.jsonl'), `${JSON.stringify(post)}\n`);
    await writeFile(join(folder, 'events.jsonl'), '');
    const { code, error } = await train('--what', 'towers', '--data', folder);
    expect(code).toBe(1);
    expect(error.trim().split('\n').at(-1)).toContain('0 engagements are too few to train on');
  });
});
