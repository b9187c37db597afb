import { mkdtempSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DEFAULT_RULES, parseRules } from '../../../src/rerank/rules-config.ts';
import { RulesFile } from '../../../src/rerank/rules-file.ts';

let folder: string;
let path: string;
let file: RulesFile | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rules-'));
  path = join(folder, 'rules.json');
});
afterEach(() => {
  file?.close();
  rmSync(folder, { recursive: true });
});

describe('parseRules', () => {
  it.each([
    [{ diversity: { theta: 'high' } }, 'rules.diversity.theta'],
    [
      {
        boosts: [
          { name: 'x', multiply: 2 },
          { name: 'y', multiply: -1 },
        ],
      },
      'rules.boosts.1.multiply',
    ],
    [
      { boosts: [{ name: 'x', multiply: 2, when: { languages: ['xx'] } }] },
      'rules.boosts.0.when.languages.0',
    ],
    [{ authorCap: { perwindow: 3 } }, 'rules.authorCap'],
    [{ network: { minFollowedShare: 0.8, maxFollowedShare: 0.2 } }, 'rules.network.minFollowedShare'],
    [{ pins: [{ postId: 'p', position: 1.5 }] }, 'rules.pins.0.position'],
    [{ freshSlots: { maxAgeHours: Number.NaN } }, 'rules.freshSlots.maxAgeHours'],
    [null, 'rules'],
  ])('names the bad key of %j', (value, field) => {
    expect(() => parseRules(value)).toThrow(
      expect.objectContaining({ code: 'invalid_input', fields: [expect.objectContaining({ field })] }),
    );
  });

  it('accepts the file that ships with the project, which holds the defaults', () => {
    const shipped = JSON.parse(readFileSync(new URL('../../../config/rules.json', import.meta.url), 'utf8'));
    expect(parseRules(shipped)).toEqual(DEFAULT_RULES);
  });
});

describe('RulesFile', () => {
  it('takes a change over with a new version and tells of it once', async () => {
    writeFileSync(path, '{}');
    const changes: string[] = [];
    file = new RulesFile(path, ({ version }) => changes.push(version), 600_000);
    const before = file.current;
    expect(before.rules).toEqual(DEFAULT_RULES);
    writeFileSync(path, '{"diversity": {"method": "mmr"}}');
    await file.check();
    await file.check();
    expect(file.current.rules.diversity.method).toBe('mmr');
    expect(file.current.version).toMatch(/^[0-9a-f]{12}$/);
    expect(changes).toEqual([file.current.version]);
    expect(file.current.version).not.toBe(before.version);
  });

  it('keeps the last good version and says why, until the file is good again', async () => {
    writeFileSync(path, '{"diversity": {"method": "mmr"}}');
    file = new RulesFile(path, undefined, 600_000);
    writeFileSync(path, '{"diversity": {"method": "magic"}}');
    await file.check();
    expect(file.error).toContain('rules.diversity.method');
    expect(file.current.rules.diversity.method).toBe('mmr');
    writeFileSync(path, '{"diversity": ');
    await file.check();
    expect(file.error).toContain('is not JSON');
    unlinkSync(path);
    await file.check();
    expect(file.error).toContain('cannot be read');
    expect(file.current.rules.diversity.method).toBe('mmr');
    writeFileSync(path, '{"diversity": {"method": "none"}}');
    await file.check();
    expect(file.error).toBeNull();
    expect(file.current.rules.diversity.method).toBe('none');
  });

  it('refuses to start on a missing or bad file and names what is wrong', () => {
    expect(() => new RulesFile(path)).toThrow(/rules\.json cannot be read/);
    writeFileSync(path, '{"pins": 3}');
    expect(() => new RulesFile(path)).toThrow(/rules\.pins/);
  });
});
