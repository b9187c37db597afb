import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

describe('generated documentation', () => {
  it('is what the configuration schema gives', () => {
    expect(() => execFileSync(process.execPath, ['scripts/setup/docs.ts', '--check'])).not.toThrow();
  });

  it('names only commands that package.json has', () => {
    const { scripts } = JSON.parse(readFileSync('package.json', 'utf8'));
    const text = ['README.md', 'ARCHITECTURE.md', 'docs/DATA-FORMAT.md', 'docs/OPERATIONS.md']
      .map((path) => readFileSync(path, 'utf8'))
      .join();
    const named = [...text.matchAll(/npm run ([a-z:-]+)/g)].map(([, name]) => name);
    expect(named.length).toBeGreaterThan(5);
    for (const name of new Set(named)) expect(Object.keys(scripts), name).toContain(name);
  });
});
