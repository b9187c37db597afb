// One replica as a process of its own, on a port that it keeps over restarts. Called by site.ts and the scenarios.
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { inNamespace } from '../../test/setup/child-process.ts';
import { START_FLAGS } from '../start-flags.ts';
import { REPOSITORY } from './fault-world.ts';
import { readMetrics, type Samples } from './metrics.ts';

export interface ServiceOptions {
  host: string;
  port: number;
  env: Record<string, string>;
  /** In src/; default main.ts. */
  script?: string;
  /** Cores as taskset takes them. */
  cores?: string;
  /** Network namespace to run in. */
  namespace?: string;
}

export interface Health {
  status: number;
  ready: boolean;
  reasons: string[];
  degraded: string[];
  index: { kind: string; generation: string; posts: number };
  models: Record<string, string>;
  stores: Record<string, string>;
  /** The updater's word: `ok` or `late`. */
  state?: string;
}

const START_MS = 120_000;
const LOG_CHARACTERS = 500_000;

export class Service {
  readonly base: string;
  readonly #options: ServiceOptions;
  #child: ChildProcess | null = null;
  /** Its last words, newest last. */
  log = '';

  constructor(options: ServiceOptions) {
    this.#options = options;
    this.base = `http://${options.host}:${options.port}`;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get alive(): boolean {
    return this.#child !== null;
  }

  /** `host:port`. */
  get address(): string {
    return `${this.#options.host}:${this.#options.port}`;
  }

  /** Starts the process; `ready` waits for it. `env` is added to what it always has. */
  spawn(env: Record<string, string> = {}): void {
    const { host, port, cores, namespace, script = 'main.ts' } = this.#options;
    const flags = script === 'main.ts' ? START_FLAGS : [];
    const node = [process.execPath, '--no-warnings', ...flags, join(REPOSITORY, 'src', script)];
    const [first, ...rest] = cores === undefined ? node : ['taskset', '-c', cores, ...node];
    const { file, args } = inNamespace(namespace, first, rest);
    const child = spawn(file, args, {
      cwd: REPOSITORY,
      env: {
        ...process.env,
        ...this.#options.env,
        ...env,
        HOST: host,
        PORT: String(port),
        UPDATER_PORT: String(port),
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    const collect = (data: Buffer) => {
      this.log = (this.log + data).slice(-LOG_CHARACTERS);
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    const killWithUs = () => child.kill('SIGKILL');
    process.once('exit', killWithUs);
    child.once('exit', () => {
      process.off('exit', killWithUs);
      if (this.#child === child) this.#child = null;
    });
  }

  async start(env: Record<string, string> = {}): Promise<void> {
    this.spawn(env);
    await this.ready();
  }

  /** @throws Error when it ends, or is not ready in time. */
  async ready(limitMs = START_MS): Promise<void> {
    const giveUpAt = Date.now() + limitMs;
    for (;;) {
      if (!this.alive) throw new Error(`the service ended: ${this.lastLine()}`);
      const health = await this.health().catch(() => null);
      if (health?.ready || health?.state === 'ok') return;
      if (Date.now() > giveUpAt) throw new Error(`the service is not ready: ${this.lastLine()}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** Resolves when the process is gone. */
  async ended(): Promise<void> {
    const child = this.#child;
    if (child) await new Promise((resolve) => child.once('exit', resolve));
  }

  async kill(): Promise<void> {
    const ended = this.ended();
    this.signal('SIGKILL');
    await ended;
  }

  async stop(): Promise<void> {
    const ended = this.ended();
    this.signal('SIGTERM');
    this.signal('SIGCONT');
    const hard = setTimeout(() => this.signal('SIGKILL'), 40_000);
    await ended;
    clearTimeout(hard);
  }

  async health(): Promise<Health> {
    const response = await fetch(`${this.base}/health/ready`, { signal: AbortSignal.timeout(2000) });
    const { status: state, ...body } = (await response.json()) as Omit<Health, 'status' | 'state'> & {
      status?: string;
    };
    return { ...body, state, status: response.status };
  }

  async metrics(): Promise<Samples> {
    const response = await fetch(`${this.base}/metrics`, { signal: AbortSignal.timeout(2000) });
    return readMetrics(await response.text());
  }

  lastLine(): string {
    return this.log.trim().split('\n').at(-1)?.slice(0, 300) ?? '';
  }
}
