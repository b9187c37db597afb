// Where and from what a figure came: commit and machine, nothing that names a host or a path. Called by the evaluations
// and by the quality page.
import { execFileSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';

export interface RunFacts {
  /** Short hash; with `+` where tracked files differ from it; null outside of a checkout. */
  commit: string | null;
  machine: { cpu: string; cores: number; memoryGb: number; node: string };
}

export function runFacts(): RunFacts {
  const model = cpus()[0]?.model.trim() ?? '';
  const machine = {
    cpu: model === '' ? 'unknown' : model,
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    node: process.versions.node,
  };
  return { commit: commitOf(), machine };
}

function commitOf(): string | null {
  const git = (...args: string[]) =>
    execFileSync('git', args, { cwd: import.meta.dirname, stdio: ['ignore', 'pipe', 'ignore'] })
      .toString()
      .trim();
  try {
    const hash = git('rev-parse', '--short=10', 'HEAD');
    return git('status', '--porcelain', '--untracked-files=no') === '' ? hash : `${hash}+`;
  } catch {
    return null;
  }
}
