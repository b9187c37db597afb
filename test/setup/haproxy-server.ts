// Finds HAProxy without touching the system and starts it on deploy/haproxy.cfg, the file that is also documented.
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, type RunningServer, startServer } from './child-process.ts';
import { unpackDebianPackages } from './debian-package.ts';
import { findOnPath } from './redis-server.ts';

const CONFIG = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), 'deploy', 'haproxy.cfg');

export interface HaproxyServer extends RunningServer {
  /** Prometheus text: the state of each replica as the balancer sees it. */
  metricsUrl: string;
}

/** Two replicas behind one address. Rejects with the reason where there is no HAProxy. */
export async function startHaproxy(cacheDir: string, replicas: [string, string]): Promise<HaproxyServer> {
  const program = await findHaproxy(cacheDir);
  const port = await freePort();
  const statsPort = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const server = await startServer(
    {
      file: program.file,
      args: ['-f', CONFIG, '-db'],
      env: {
        ...program.env,
        FEEDRANK_LISTEN: `127.0.0.1:${port}`,
        FEEDRANK_STATS: `127.0.0.1:${statsPort}`,
        FEEDRANK_A: replicas[0],
        FEEDRANK_B: replicas[1],
      },
      stopSignal: 'SIGTERM',
    },
    async () => {
      const { status } = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(2000) });
      if (status !== 200) throw new Error(`status ${status}`);
    },
  );
  const metricsUrl = `http://127.0.0.1:${statsPort}/metrics`;
  return { url, metricsUrl, origin: program.origin, pid: server.pid, stop: server.stop };
}

async function findHaproxy(
  cacheDir: string,
): Promise<{ file: string; origin: string; env: Record<string, string> }> {
  const file = findOnPath('haproxy', ['/usr/sbin', '/usr/local/sbin', '/opt/homebrew/bin']);
  if (file) return { file, origin: file, env: {} };
  if (!findOnPath('apt-get') || !findOnPath('dpkg')) {
    throw new Error('no haproxy on the PATH, and this system has no Debian packages');
  }
  // The wrapper is named so that the library that it needs itself is found too.
  const packages = ['haproxy', 'libopentracing-c-wrapper0'];
  const unpacked = await unpackDebianPackages(cacheDir, 'haproxy', packages);
  return {
    file: join(unpacked.root, 'usr', 'sbin', 'haproxy'),
    origin: "Debian's package, unpacked",
    env: { LD_LIBRARY_PATH: unpacked.libraryPath },
  };
}
