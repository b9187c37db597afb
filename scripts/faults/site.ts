// The place of one scenario: PostgreSQL and Redis with a copy of the prepared world, behind fault proxies, and the
// replicas that use them. Everything it started is gone when it closes.
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, runCommand } from '../../test/setup/child-process.ts';
import { type FaultWorld, faultWorld, MODELS_DIR, REPOSITORY } from './fault-world.ts';
import { ManagedPostgres, ManagedRedis } from './managed-server.ts';
import { Impossible, type ScenarioContext } from './scenario.ts';
import { Service, type ServiceOptions } from './service.ts';

export interface SiteOptions {
  /** Counts of what the services send to Redis; default one a chunk. */
  measureRedis?: (chunk: Buffer) => number;
  /** Settings of PostgreSQL, `name=value`. */
  postgresSettings?: string[];
  /** Where PostgreSQL's data is copied to, in place of the scenario's own folder. */
  postgresFolder?: string;
  /** Address that PostgreSQL's proxy listens on, in place of loopback. */
  listen?: string;
}

export interface ReplicaOptions extends Partial<Omit<ServiceOptions, 'env'>> {
  env?: Record<string, string>;
  /** Its data folder; default a new one. */
  data?: string;
  /** Whether it starts from the prepared index; default yes. */
  index?: boolean;
}

/** What every service of the suite has: no limits of its own address, a known secret, looks for swaps often. */
const SERVICE_ENV = {
  PROFILE: 'development',
  RATE_LIMIT_PER_MINUTE: '0',
  USER_RATE_LIMIT_PER_MINUTE: '0',
  CURSOR_SECRET: 'the fault suite, on loopback only',
  LOG_LEVEL: 'info',
  INDEX_POLL_MS: '250',
  RULES_FILE: join(REPOSITORY, 'config', 'rules.json'),
};

export class Site {
  readonly world: FaultWorld;
  readonly folder: string;
  readonly redis: ManagedRedis;
  readonly postgres: ManagedPostgres;
  readonly #open: AsyncDisposableStack;
  #services = 0;

  private constructor(
    world: FaultWorld,
    folder: string,
    stores: { redis: ManagedRedis; postgres: ManagedPostgres },
    open: AsyncDisposableStack,
  ) {
    this.world = world;
    this.folder = folder;
    this.redis = stores.redis;
    this.postgres = stores.postgres;
    this.#open = open;
  }

  /** Both servers run when it resolves. @throws Impossible where one of them cannot be had. */
  static async open(context: ScenarioContext, options: SiteOptions = {}): Promise<Site> {
    const open = new AsyncDisposableStack();
    try {
      const world = await faultWorld(context).catch((error: Error) => {
        throw /no redis-server|no PostgreSQL|apt/.test(error.message) ? new Impossible(error.message) : error;
      });
      const folder = mkdtempSync(join(tmpdir(), 'feedrank-faults-'));
      open.defer(() => rmSync(folder, { recursive: true, force: true }));
      chmodSync(folder, 0o755);
      const servers = join(context.cacheDir, 'servers');
      const data = join(options.postgresFolder ?? folder, 'postgres');
      await runCommand('cp', ['-a', world.postgres, data]);
      const postgres = await ManagedPostgres.open(servers, {
        data,
        settings: options.postgresSettings,
        listen: options.listen,
      });
      open.defer(() => postgres.close());
      await postgres.start();
      const redis = await ManagedRedis.open(servers, world.redisDump, { measure: options.measureRedis });
      open.defer(() => redis.close());
      await redis.start();
      return new Site(world, folder, { redis, postgres }, open);
    } catch (error) {
      await open.disposeAsync();
      throw error;
    }
  }

  /** A replica with a data folder of its own, not started yet. */
  async service(given: ReplicaOptions = {}): Promise<Service> {
    const data = given.data ?? join(this.folder, `replica-${this.#services++}`);
    mkdirSync(data, { recursive: true });
    if (given.index !== false) cpSync(this.world.data, data, { recursive: true });
    const env: Record<string, string> = {
      ...SERVICE_ENV,
      DATA_DIR: data,
      MODELS_DIR,
      DATABASE_URL: this.postgres.url,
      REDIS_URL: this.redis.url,
      ...given.env,
    };
    const { host = '127.0.0.1', port = await freePort(), cores, namespace, script } = given;
    const service = new Service({ host, port, env, cores, namespace, script });
    this.defer(() => service.stop());
    return service;
  }

  /** Started and ready. */
  async startService(...given: Parameters<Site['service']>): Promise<Service> {
    const service = await this.service(...given);
    await service.start();
    return service;
  }

  /** Undone when the site closes, before what was opened earlier. */
  defer(undo: () => Promise<void> | void): void {
    this.#open.defer(undo);
  }

  close(): Promise<void> {
    return this.#open.disposeAsync();
  }
}

/** Opens a site, runs the scenario in it, closes it whatever happened. */
export async function inSite<T>(
  context: ScenarioContext,
  options: SiteOptions,
  work: (site: Site) => Promise<T>,
): Promise<T> {
  const site = await Site.open(context, options);
  try {
    return await work(site);
  } finally {
    await site.close();
  }
}
