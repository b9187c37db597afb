// Redis beyond one server, for tests: a Cluster of three masters, and a master with a replica under a Sentinel. Made by
// commands, without redis-cli; every server is stopped again.
import { Redis } from 'ioredis';
import type { RunningServer } from './child-process.ts';
import { startRedis } from './redis-server.ts';

const SLOTS = 16_384;
const READY_MS = 20_000;

export interface TestCluster {
  nodes: { host: string; port: number }[];
  /** A connection to each node, in the order of `nodes`. */
  admins: Redis[];
  stop(): Promise<void>;
}

export async function startRedisCluster(cacheDir: string, masters = 3): Promise<TestCluster> {
  const servers: RunningServer[] = [];
  const admins: Redis[] = [];
  const stop = async () => {
    for (const admin of admins) admin.disconnect();
    await Promise.all(servers.map((server) => server.stop()));
  };
  try {
    for (let i = 0; i < masters; i++) {
      const settings = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000'];
      const server = await startRedis(cacheDir, {
        settings: [...settings, '--cluster-require-full-coverage', 'no'],
        // The bus listens 10,000 above the port.
        port: 20_000 + Math.floor(Math.random() * 30_000),
      });
      servers.push(server);
      admins.push(new Redis(server.url));
    }
    const nodes = servers.map(({ url }) => ({ host: '127.0.0.1', port: Number(new URL(url).port) }));
    for (let i = 0; i < masters; i++) {
      const from = Math.floor((SLOTS * i) / masters);
      const to = Math.floor((SLOTS * (i + 1)) / masters);
      const slots = Array.from({ length: to - from }, (_, n) => from + n);
      await admins[i].call('CLUSTER', 'ADDSLOTS', ...slots);
      await admins[0].call('CLUSTER', 'MEET', nodes[i].host, nodes[i].port);
    }
    await until('the cluster is made', async () => {
      const states = await Promise.all(
        admins.map((admin) => admin.call('CLUSTER', 'INFO') as Promise<string>),
      );
      return states.every(
        (state) => state.includes('cluster_state:ok') && state.includes(`cluster_known_nodes:${masters}\r`),
      );
    });
    return { nodes, admins, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

export interface TestSentinel {
  sentinel: { host: string; port: number };
  name: string;
  master: RunningServer;
  replica: RunningServer;
  stop(): Promise<void>;
}

export async function startRedisSentinel(cacheDir: string): Promise<TestSentinel> {
  const servers: RunningServer[] = [];
  const stop = async () => {
    await Promise.all(servers.map((server) => server.stop()));
  };
  const start = async (options: Parameters<typeof startRedis>[1]) => {
    const server = await startRedis(cacheDir, options);
    servers.push(server);
    return server;
  };
  const name = 'feedrank-master';
  try {
    const master = await start({ settings: ['--repl-diskless-sync-delay', '0'] });
    const port = new URL(master.url).port;
    const replica = await start({ settings: ['--replicaof', `127.0.0.1 ${port}`] });
    const watcher = await start({
      settings: ['--sentinel'],
      file: [
        `sentinel monitor ${name} 127.0.0.1 ${port} 1`,
        `sentinel down-after-milliseconds ${name} 500`,
        `sentinel failover-timeout ${name} 3000`,
        '',
      ].join('\n'),
    });
    const admin = new Redis(watcher.url);
    try {
      await until('the sentinel knows the replica', async () => {
        const [found] = (await admin.call('SENTINEL', 'REPLICAS', name)) as string[][];
        return found?.includes('ok') ?? false;
      });
    } finally {
      admin.disconnect();
    }
    return {
      sentinel: { host: '127.0.0.1', port: Number(new URL(watcher.url).port) },
      name,
      master,
      replica,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const giveUpAt = Date.now() + READY_MS;
  while (!(await holds())) {
    if (Date.now() > giveUpAt) throw new Error(`${what}: not within ${READY_MS / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
