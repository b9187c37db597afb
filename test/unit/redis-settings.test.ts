import { describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { redisNodes, redisTarget } from '../../src/redis-settings.ts';

const target = (environment: Record<string, string>) => redisTarget(readConfig(environment));

describe('where Redis is', () => {
  it('is a URL, a Cluster, or what Sentinels name; nothing means embedded', () => {
    expect(target({})).toBeUndefined();
    expect(target({ REDIS_URL: 'rediss://h:1', REDIS_TLS_CA_FILE: 'ca.pem' })).toEqual({
      url: 'rediss://h:1',
      caFile: 'ca.pem',
    });
    expect(target({ REDIS_CLUSTER_NODES: 'a:1, [::1]:2', REDIS_PASSWORD: 'p', REDIS_TLS: 'true' })).toEqual({
      cluster: [
        { host: 'a', port: 1 },
        { host: '::1', port: 2 },
      ],
      username: undefined,
      password: 'p',
      tls: true,
      caFile: undefined,
    });
    expect(target({ REDIS_SENTINELS: 's1:26379,s2:26379', REDIS_SENTINEL_NAME: 'main' })).toMatchObject({
      sentinels: [
        { host: 's1', port: 26_379 },
        { host: 's2', port: 26_379 },
      ],
      name: 'main',
    });
  });

  it.each([
    [{ REDIS_URL: 'redis://h', REDIS_CLUSTER_NODES: 'a:1' }, 'REDIS_URL, REDIS_CLUSTER_NODES'],
    [{ REDIS_SENTINELS: 's:1' }, 'REDIS_SENTINEL_NAME'],
    [{ REDIS_SENTINEL_NAME: 'main' }, 'REDIS_SENTINELS'],
    [{ REDIS_URL: 'redis://h', REDIS_PASSWORD: 'p' }, 'REDIS_PASSWORD'],
    [{ REDIS_URL: 'redis://h', REDIS_TLS_CA_FILE: 'ca.pem' }, 'REDIS_TLS_CA_FILE'],
    [{ REDIS_URL: 'redis://h', REDIS_TLS: 'true' }, 'REDIS_TLS'],
    [{ REDIS_CLUSTER_NODES: 'a' }, 'REDIS_CLUSTER_NODES: must be host:port,host:port'],
    [
      { REDIS_SENTINELS: 's:99999', REDIS_SENTINEL_NAME: 'main' },
      'REDIS_SENTINELS: must be host:port,host:port',
    ],
  ])('refuses %j', (environment, named) => {
    expect(() => readConfig(environment)).toThrow(named);
  });

  it('takes a Cluster for production’s Redis', () => {
    const production = {
      PROFILE: 'production',
      DATABASE_URL: 'postgres://h/d',
      CURSOR_SECRET: 'sixteen characters or more',
      API_KEYS_FILE: 'keys.json',
    };
    expect(() => readConfig(production)).toThrow('REDIS_URL: required when PROFILE=production');
    expect(readConfig({ ...production, REDIS_CLUSTER_NODES: 'a:1' }).REDIS_CLUSTER_NODES).toBe('a:1');
  });

  it('reads nodes, and nothing else, from a list', () => {
    expect(redisNodes('a.b-c:6379')).toEqual([{ host: 'a.b-c', port: 6379 }]);
    for (const bad of ['', 'a:', ':1', 'a:0', 'a:1,', 'redis://a:1', 'a:1;b:2'])
      expect(redisNodes(bad)).toBeNull();
  });
});
