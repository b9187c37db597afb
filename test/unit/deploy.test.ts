import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { configSchema } from '../../src/config.ts';

const root = resolve(import.meta.dirname, '../..');
const read = (name: string) => readFileSync(join(root, 'deploy', name), 'utf8');
const all = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map((match) => match[1]);

describe('files for deployment', () => {
  it('set no environment key that the service, the balancer or PostgreSQL does not know', () => {
    const known = new Set([...Object.keys(configSchema.shape), 'POSTGRES_PASSWORD']);
    const balancer = new Set(all(read('haproxy.cfg'), /"\$\{(\w+)\}"/g));
    const set = all(read('docker-compose.yml'), /^ +([A-Z][A-Z_]+): /gm);
    expect(set.length).toBeGreaterThan(10);
    expect(set.filter((key) => !known.has(key) && !balancer.has(key))).toEqual([]);
    expect([...balancer].filter((key) => !set.includes(key))).toEqual([]);
  });

  it('start scripts that are there', () => {
    const texts = ['docker-compose.yml', 'feedrank.service', 'feedrank-updater.service'].map(read).join('\n');
    const scripts = [...new Set(all(texts, /((?:src|scripts)\/[\w/-]+\.ts)/g))];
    expect(scripts.length).toBeGreaterThanOrEqual(4);
    expect(scripts.filter((script) => !existsSync(join(root, script)))).toEqual([]);
  });

  it('start a replica with Node’s flags of `npm start`', () => {
    const { start } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).scripts;
    const flags: string[] = start.match(/--\S+/g);
    expect(flags.length).toBeGreaterThan(0);
    for (const name of ['docker-compose.yml', 'feedrank.service']) {
      const line = read(name)
        .split('\n')
        .find((one) => one.includes('src/main.ts'));
      for (const flag of flags) expect(line).toContain(flag);
    }
  });

  it('give a replica as long to stop as it drains', () => {
    const text = /DRAIN_MS = ([\d_]+)/.exec(readFileSync(join(root, 'src/main.ts'), 'utf8'))?.[1] ?? '';
    const drainMs = Number(text.replaceAll('_', '')) + configSchema.parse({}).DRAIN_DELAY_MS;
    const [unit] = all(read('feedrank.service'), /^TimeoutStopSec=(\d+)$/gm).map(Number);
    const [compose] = all(read('docker-compose.yml'), /stop_grace_period: (\d+)s/g).map(Number);
    expect(drainMs).toBeGreaterThan(0);
    expect(Math.min(unit, compose) * 1000).toBeGreaterThan(drainMs);
  });
});
