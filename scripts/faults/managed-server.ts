// PostgreSQL and Redis as a scenario handles them: killed, stopped, started again on the same port and data; always
// behind a fault proxy. Called by site.ts.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { freePort, type RunningServer } from '../../test/setup/child-process.ts';
import { type PostgresOptions, startPostgres } from '../../test/setup/postgres-server.ts';
import { startRedis } from '../../test/setup/redis-server.ts';
import { startTcpProxy, type TcpProxy, type TcpProxyOptions } from '../../test/setup/tcp-proxy.ts';

abstract class ManagedServer {
  protected readonly cacheDir: string;
  readonly port: number;
  /** Between the service and the server. */
  readonly proxy: TcpProxy;
  protected running: RunningServer | null = null;

  constructor(cacheDir: string, port: number, proxy: TcpProxy) {
    this.cacheDir = cacheDir;
    this.port = port;
    this.proxy = proxy;
  }

  signal(signal: NodeJS.Signals): void {
    if (this.running) process.kill(this.running.pid, signal);
  }

  async close(): Promise<void> {
    await this.stop();
    await this.proxy.close();
  }

  async stop(): Promise<void> {
    await this.running?.stop();
    this.running = null;
  }

  /** Ends it without warning. */
  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.stop();
  }
}

export class ManagedRedis extends ManagedServer {
  readonly #dump: string;

  constructor(cacheDir: string, port: number, proxy: TcpProxy, dump: string) {
    super(cacheDir, port, proxy);
    this.#dump = dump;
  }

  static async open(
    cacheDir: string,
    dump: string,
    options: Pick<TcpProxyOptions, 'measure'> = {},
  ): Promise<ManagedRedis> {
    const port = await freePort();
    const proxy = await startTcpProxy({ host: '127.0.0.1', port, measure: options.measure });
    return new ManagedRedis(cacheDir, port, proxy, dump);
  }

  get url(): string {
    return `redis://127.0.0.1:${this.proxy.port}`;
  }

  /** Past the proxy. */
  get directUrl(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** With the users' state as it was prepared, or empty. */
  async start({ empty = false } = {}): Promise<void> {
    this.running = await startRedis(this.cacheDir, {
      port: this.port,
      dump: empty ? undefined : this.#dump,
    });
  }
}

export class ManagedPostgres extends ManagedServer {
  readonly #options: PostgresOptions & { data: string };

  constructor(cacheDir: string, port: number, proxy: TcpProxy, options: PostgresOptions & { data: string }) {
    super(cacheDir, port, proxy);
    this.#options = options;
  }

  static async open(
    cacheDir: string,
    options: PostgresOptions & { data: string } & Pick<TcpProxyOptions, 'listen'>,
  ): Promise<ManagedPostgres> {
    const port = await freePort();
    const proxy = await startTcpProxy({ host: '127.0.0.1', port, listen: options.listen });
    return new ManagedPostgres(cacheDir, port, proxy, options);
  }

  get url(): string {
    return `postgres://postgres@127.0.0.1:${this.proxy.port}/postgres`;
  }

  /** Past the proxy. */
  get directUrl(): string {
    return `postgres://postgres@127.0.0.1:${this.port}/postgres`;
  }

  async start(): Promise<void> {
    this.running = await startPostgres(this.cacheDir, { ...this.#options, port: this.port });
  }

  /** The whole cluster ends at once; the children of a killed postmaster are waited for. */
  override async kill(): Promise<void> {
    await super.kill();
    const lock = join(this.#options.data, 'postmaster.pid');
    const segment = existsSync(lock)
      ? readFileSync(lock, 'utf8').split('\n')[6]?.trim().split(/\s+/)[1]
      : undefined;
    for (let tries = 0; segment && tries < 100 && attached(segment); tries++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async restartIfEnded(): Promise<void> {
    const answers = await this.query('select 1').then(
      () => true,
      () => false,
    );
    if (answers) return;
    await this.kill();
    await this.start();
  }

  async query<T extends object>(text: string, values: unknown[] = []): Promise<T[]> {
    const client = new pg.Client({ connectionString: this.directUrl });
    client.on('error', () => {});
    await client.connect();
    try {
      return (await client.query<T>(text, values)).rows;
    } finally {
      await client.end();
    }
  }
}

/** Whether a System V shared memory segment still has processes. */
function attached(segment: string): boolean {
  try {
    return readFileSync('/proc/sysvipc/shm', 'utf8')
      .split('\n')
      .some((line) => {
        const [, id, , , , , processes] = line.trim().split(/\s+/);
        return id === segment && Number(processes) > 0;
      });
  } catch {
    return false;
  }
}
