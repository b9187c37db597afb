import { describe, expect, it } from 'vitest';
import { configSchema, readConfig } from '../../src/config.ts';

describe('readConfig', () => {
  it('gives every setting a default or leaves it absent, and freezes the result', () => {
    const config = readConfig({});
    expect(config.PORT).toBe(3000);
    expect(config.DOCS).toBe(true);
    expect(config.DATABASE_URL).toBeUndefined();
    expect(Object.isFrozen(config)).toBe(true);
  });

  it('treats an empty variable as absent', () => {
    expect(readConfig({ PORT: '', REDIS_URL: '' }).PORT).toBe(3000);
  });

  it.each([
    ['PORT', '70000'],
    ['PORT', 'abc'],
    ['PORT', 'NaN'],
    ['EXPLORE_SHARE', '1.5'],
    ['EXECUTION_PROVIDER', 'tpu'],
    ['DATABASE_URL', 'mysql://x/y'],
    ['REDIS_URL', 'http://x'],
    ['CURSOR_SECRET', 'short'],
    ['DOCS', 'yes'],
  ])('refuses %s=%s and names the key', (key, value) => {
    expect(() => readConfig({ [key]: value })).toThrow(new RegExp(`\\b${key}\\b`));
  });

  it('names every bad key at once', () => {
    expect(() => readConfig({ PORT: '-1', LOG_LEVEL: 'loud' })).toThrow(/PORT[\s\S]*LOG_LEVEL/);
  });

  it('refuses embedded stores in production', () => {
    expect(() => readConfig({ PROFILE: 'production' })).toThrow(/DATABASE_URL, REDIS_URL, CURSOR_SECRET/);
  });

  it('describes every setting', () => {
    for (const [key, schema] of Object.entries(configSchema.shape)) {
      expect(schema.description, key).toMatch(/\.$/);
    }
  });
});
