import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDevice } from '../../../../src/composition/device.ts';
import { readConfig } from '../../../../src/config.ts';
import type { RankerPlan } from '../../../../src/ranking/ranker-shelf.ts';
import { writeTinyModel } from '../tiny-model.ts';

let modelsDir: string;

beforeAll(async () => {
  modelsDir = await mkdtemp(join(tmpdir(), 'feedrank-device-'));
  await writeTinyModel(modelsDir);
});

afterAll(async () => {
  await rm(modelsDir, { recursive: true });
});

function open(provider: string) {
  const logged: { problem?: string }[] = [];
  const logger = pino({}, { write: (line) => void logged.push(JSON.parse(line)) });
  const registry = new Registry();
  const config = readConfig({ EXECUTION_PROVIDER: provider, MODELS_DIR: modelsDir, FEED_WORKERS: '2' });
  const told: { kind: string; payload: unknown }[] = [];
  const pool = {
    broadcast: async (kind: string, payload: unknown) => {
      told.push({ kind, payload });
      return kind === 'models' ? [{ open: ['1'] }] : [];
    },
  };
  return { device: openDevice(config, registry, logger), registry, logged, told, pool };
}

describe('the device in the service', () => {
  it('is not there on the CPU: the pool is told as before, and no metric is added', async () => {
    const { device, pool, registry } = open('cpu');
    expect(device.before(pool)).toBe(pool);
    expect(device.ranking).toEqual({ provider: 'cpu' });
    expect(await registry.metrics()).toBe('\n');
    await device.close();
  });

  it('tells feed workers with the plan what it cannot run, and logs it', async () => {
    const { device, pool, told, logged, registry } = open('cuda');
    const before = device.before(pool);
    await before.broadcast('rules', 'r', null);
    const plan: RankerPlan = { serving: '1', light: null, others: [] };
    await before.broadcast('models', plan, 'models');
    expect(told[0]).toEqual({ kind: 'rules', payload: 'r' });
    const { device: opened } = told[1].payload as RankerPlan;
    if (!opened || !('problem' in opened[1]))
      return console.log('skipped: this machine has the CUDA provider');
    expect(opened[1].problem).toMatch(/^execution provider cuda cannot run ranker@1: /);
    expect(logged.map(({ problem }) => problem)).toEqual([opened[1].problem]);
    expect(await registry.metrics()).toContain('feedrank_device_refused_total{reason="early"} 0');
    await device.close();
  });
});
