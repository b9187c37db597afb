// The Python that trains: FEEDRANK_PYTHON, or a virtual environment made once per version of requirements.txt.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

const REQUIREMENTS = resolve(import.meta.dirname, 'requirements.txt');
/** What a CUDA driver makes on Linux. */
const CUDA_DEVICE = '/dev/nvidiactl';
const CACHE = resolve(import.meta.dirname, '../../.cache/python');

/**
 * Path of a Python interpreter that has everything in scripts/train/requirements.txt. Without FEEDRANK_PYTHON the
 * first call makes a virtual environment under .cache/python (minutes, needs a package index); later calls reuse it.
 * Throws with one line of reason where that is impossible.
 */
export async function ensurePython(): Promise<string> {
  const chosen = process.env.FEEDRANK_PYTHON;
  if (chosen !== undefined && chosen !== '') {
    await runQuietly(chosen, ['--version'], 'FEEDRANK_PYTHON');
    return chosen;
  }
  const requirements = await readFile(REQUIREMENTS, 'utf8');
  const version = createHash('sha256').update(requirements).digest('hex').slice(0, 12);
  const folder = join(CACHE, version);
  const python = join(folder, 'bin', 'python');
  const complete = join(folder, '.complete');
  if (existsSync(complete) && existsSync(python)) return python;

  process.stderr.write(
    `python: installing scripts/train/requirements.txt into ${folder} (once, some minutes)\n`,
  );
  await mkdir(CACHE, { recursive: true });
  await rm(folder, { recursive: true, force: true });
  await runQuietly('python3', ['-m', 'venv', folder], 'python3 -m venv');
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check'];
  const small = existsSync(CUDA_DEVICE) ? null : cpuBuildOf(requirements);
  // A build for CPUs satisfies the pin and is a sixth as large; not every package index carries it.
  if (small !== null) {
    await runQuietly(python, [...pip, small], small).catch(() => {
      process.stderr.write(`python: pip finds no ${small}, taking the build with CUDA (see --help)\n`);
    });
  }
  await runQuietly(python, [...pip, '-r', REQUIREMENTS], 'pip install -r scripts/train/requirements.txt');
  // A marker that is renamed into place: a folder whose installation was interrupted is made anew.
  await writeFile(`${complete}.new`, requirements);
  await rename(`${complete}.new`, complete);
  return python;
}

/** `torch==2.15.0` → `torch==2.15.0+cpu`; null where torch is not pinned. */
export function cpuBuildOf(requirements: string): string | null {
  const pin = /^torch==([\d.]+)\s*$/m.exec(requirements);
  return pin === null ? null : `torch==${pin[1]}+cpu`;
}

/** Resolves on exit code 0; otherwise throws the last line the program wrote to stderr. */
function runQuietly(command: string, args: string[], what: string): Promise<void> {
  return new Promise((done, fail) => {
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let errors = '';
    child.stderr.on('data', (chunk: Buffer) => {
      errors = (errors + chunk.toString()).slice(-4000);
    });
    child.on('error', (error) => fail(new Error(`${what}: ${error.message}`)));
    child.on('close', (code) => {
      if (code === 0) done();
      else fail(new Error(`${what} failed (${code}): ${errors.trim().split('\n').at(-1) ?? ''}`));
    });
  });
}
