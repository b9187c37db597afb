import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readLoadTestOptions } from '../../../scripts/load-test/options.ts';
import { coreCount, pinningOf } from '../../../scripts/load-test/pinning.ts';
import { Traffic } from '../../../scripts/load-test/traffic.ts';
import { findOnPath } from '../../setup/redis-server.ts';

const URL = 'http://localhost:3000';
const noTaskset = findOnPath('taskset') === null;

let dir: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'feedrank-load-options-'));
});

afterAll(() => rmSync(dir, { recursive: true }));

describe('options', () => {
  test('search for the knee by default, and hold 2× and 5× of it', () => {
    const { campaign, eventShare, posts, users, service } = readLoadTestOptions({ url: URL });
    expect(campaign.load).toEqual({ steps: { start: 20, factor: 1.5, max: 20_000, list: null, refine: 2 } });
    expect(campaign.holds).toEqual([2, 5]);
    expect({ eventShare, posts, users }).toEqual({
      eventShare: 0,
      posts: 50,
      users: { prefix: 'u', count: 1000 },
    });
    // The name is not left to a resolver: what is loaded is this machine.
    expect(service).toEqual({
      target: { host: '127.0.0.1', port: 3000, base: 'http://127.0.0.1:3000' },
      pid: null,
    });
  });

  test('a key goes with every request, and none without one', () => {
    const of = (flags: Record<string, string>) => {
      const { apiKey, users, posts } = readLoadTestOptions({ url: URL, ...flags });
      const served = [{ userId: 'u1', postId: 'p1', token: 't', position: 0 }];
      const settings = { authority: 'x', posts, users, zipfExponent: 1, seed: 1, profiles: {}, served };
      return [0, 1].map((eventShare) => new Traffic({ ...settings, eventShare, apiKey }).next().text);
    };
    for (const text of of({ 'api-key': 'frk_load_x' })) {
      expect(text.split('\r\n\r\n')[0].split('\r\n')).toContain('authorization: Bearer frk_load_x');
    }
    for (const text of of({})) expect(text).not.toMatch(/authorization/i);
  });

  test('a mix is taken relative to its sum', () => {
    const share = (mix: string) => readLoadTestOptions({ url: URL, mix }).eventShare;
    expect(share('feed=.9,events=.1')).toBeCloseTo(0.1, 9);
    expect(share('events=1,feed=3')).toBe(0.25);
    expect(share('feed=1')).toBe(0);
  });

  test.each([
    ['mix', 'events=1'],
    ['mix', 'feed=1,feed=2'],
    ['mix', 'feed=-1'],
    ['mix', 'feed'],
    ['hold', '2,x'],
    ['hold', '50'],
    ['arrivals', 'steady'],
    ['steps', '10:1.01:20'],
    ['steps', '10,10'],
    ['zipf', '-1'],
    ['rate', '0'],
    ['rate', ''],
    ['duration', '601'],
    ['workers', '17'],
    ['user-ids', '/nonexistent'],
    ['api-key', 'a\r\nhost: other'],
  ])('refuse --%s "%s"', (flag, value) => {
    expect(() => readLoadTestOptions({ url: URL, [flag]: value })).toThrow(`--${flag}`);
  });

  test('users are those of a list, or as many as the world was made with', () => {
    const ids = join(dir, 'ids.txt');
    writeFileSync(ids, 'anna\n\nbernd \n');
    expect(readLoadTestOptions({ url: URL, 'user-ids': ids }).users).toEqual({ ids: ['anna', 'bernd'] });
    writeFileSync(join(dir, 'world.json'), '{"posts":10,"users":77}');
    expect(readLoadTestOptions({ start: 'embedded', 'data-dir': dir }).users).toEqual({
      prefix: 'u',
      count: 77,
    });
  });

  test('no phase has more than five million requests', () => {
    const { maxRate } = readLoadTestOptions({ url: URL, duration: '600' }).campaign;
    expect(maxRate * 600).toBeLessThanOrEqual(5_000_000);
  });
});

describe.skipIf(noTaskset)(`pinning${noTaskset ? ' (skipped: there is no taskset)' : ''}`, () => {
  test('gives the generators the last core, or what is asked for', () => {
    expect(pinningOf('auto', 2)).toEqual({ service: '0', generator: '1' });
    expect(pinningOf('auto', 8)).toEqual({ service: '0-6', generator: '7' });
    expect(pinningOf('0-2,5:3,4', availableParallelism())).toEqual({ service: '0-2,5', generator: '3,4' });
    expect(() => pinningOf('auto', 1)).toThrow('two cores');
    for (const bad of ['0', '0:', ':1', 'a:b', '0:1:2', '0;rm:1'])
      expect(() => pinningOf(bad)).toThrow('--pin');
  });

  test('counts the cores of a list', () => {
    expect(['0', '0-2', '0-2,5', '1,3,5-6'].map(coreCount)).toEqual([1, 3, 4, 4]);
  });
});
