// Every command an adopter types: it explains itself, and refuses a wrong flag with one line and a non-zero code.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };
/** Commands that take flags: what `node` runs, but the service (configured by its environment), tests and docs. */
const commands = Object.entries(scripts)
  .filter(([name, line]) => /^node scripts\/[\w-]+\.ts$/.test(line) && !['test', 'docs'].includes(name))
  .map(([name, line]) => ({ name, file: line.replace('node ', '') }));

function run(file: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--no-warnings', file, ...args], {
    encoding: 'utf8',
    timeout: 30_000,
  });
  return { status, stdout, stderr };
}

describe.each(commands)('npm run $name', ({ file }) => {
  it('explains itself', () => {
    const { status, stdout } = run(file, '--help');
    expect(status).toBe(0);
    expect(stdout).toMatch(/--help|WHAT/);
  });

  it('refuses an unknown flag with one line', () => {
    const { status, stderr } = run(file, '--no-such-flag');
    expect(status).not.toBe(0);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });
});

describe('npm start', () => {
  it('explains itself, and refuses flags with one line', () => {
    expect(run('src/main.ts', '--help')).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/DATABASE_URL/),
    });
    const { status, stderr } = run('src/main.ts', '--port=1');
    expect(status).toBe(2);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  it('refuses a bad setting and names it', () => {
    const { status, stderr } = spawnSync(process.execPath, ['--no-warnings', 'src/main.ts'], {
      encoding: 'utf8',
      env: { ...process.env, PORT: 'abc' },
      timeout: 30_000,
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(/PORT/);
  });
});
