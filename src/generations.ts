// Which generation serves: loads the published one (or starts empty), replays the changes since its build, opens it
// in every feed worker, and swaps to a newer one without losing a request. A generation in use is never closed.
import type { Applier } from './applier.ts';
import {
  currentVersion,
  emptyGeneration,
  type GraphFile,
  loadGeneration,
} from './candidates/index/artifact.ts';
import type { PostTable } from './candidates/index/post-table.ts';
import { CatalogueWriter } from './catalogue-writer.ts';
import type { ChangeFeed, Position } from './contracts.ts';
import { FeedrankError, messageOf } from './errors.ts';
import { Follower } from './follower.ts';
import type { WorkerPool } from './pool.ts';
import type { OpenedGeneration, OpenGeneration } from './worker.ts';

export interface Generation {
  readonly id: string;
  readonly table: PostTable;
  readonly writer: CatalogueWriter;
  readonly follower: Follower;
  /** How the workers search it: `hnsw+exact`, `exact`. */
  search: string;
  /** Why a published graph is not used, null when it is or when there is none. */
  searchReason: string | null;
  models: string[];
  modelProblems: string[];
  inUse: number;
}

export interface GenerationsOptions {
  indexDir: string;
  liveCapacity: number;
  tower: string;
  /** Position that an empty generation is filled from: the beginning of the feed. */
  beginning: Position;
  changes: ChangeFeed;
  applier: Applier;
  pool: WorkerPool;
  changesPollMs: number;
  indexPollMs: number;
  onApplied: (kinds: string[]) => void;
  onChangeFailure: (reason: string) => void;
  log: (level: 'info' | 'warn', details: Record<string, unknown>, message: string) => void;
}

export class Generations {
  readonly #options: GenerationsOptions;
  #current: Generation | undefined;
  /** Being filled; writes go to it too. */
  #next: Generation | undefined;
  #refused: { version: string; reason: string } | null = null;
  #timer: NodeJS.Timeout | undefined;
  #checking: Promise<void> | undefined;
  #closed = false;

  constructor(options: GenerationsOptions) {
    this.#options = options;
  }

  get current(): Generation {
    if (!this.#current) throw new FeedrankError('unavailable', 'no generation is loaded yet');
    return this.#current;
  }

  /** Where post vectors are looked up: what serves, or at the start what is being loaded. */
  get lookup(): PostTable {
    return (this.#current ?? this.#next ?? this.current).table;
  }

  /** Why a published version does not serve, null when the newest one does. */
  get refusal(): string | null {
    return this.#refused && `index ${this.#refused.version}: ${this.#refused.reason}`;
  }

  /** Writers of every generation that must see a change at once. */
  get writers(): CatalogueWriter[] {
    return [this.#current, this.#next].filter((one) => one !== undefined).map((one) => one.writer);
  }

  /** Loads what is published, or starts empty; an artifact that is refused starts empty too, loudly. */
  async open(): Promise<void> {
    const { indexDir, log } = this.#options;
    try {
      const version = await currentVersion(indexDir);
      await this.#swapTo(version);
    } catch (error) {
      log(
        'warn',
        { reason: messageOf(error) },
        'the published index is refused; posts are read from the store',
      );
      await this.#swapTo(null);
    }
    this.#schedule();
  }

  /** Runs `work` on the current generation, which stays open until it is done. */
  async use<T>(work: (generation: Generation) => Promise<T>): Promise<T> {
    const generation = this.current;
    generation.inUse++;
    try {
      return await work(generation);
    } finally {
      generation.inUse--;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#checking;
    await this.#current?.follower.stop();
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#checking = this.#check().finally(() => this.#schedule());
    }, this.#options.indexPollMs);
    this.#timer.unref();
  }

  async #check(): Promise<void> {
    let version: string | null = null;
    try {
      version = await currentVersion(this.#options.indexDir);
      if (version === null || version === this.current.id || version === this.#refused?.version) return;
      await this.#swapTo(version);
      this.#refused = null;
    } catch (error) {
      this.#refuse(version, error);
    }
  }

  /** What serves goes on serving; the same bad version is not tried again and again. */
  #refuse(version: string | null, error: unknown): void {
    this.#refused = { version: version ?? 'current', reason: messageOf(error) };
    this.#next = undefined;
    this.#options.log('warn', this.#refused, 'a published index was refused');
  }

  async #swapTo(version: string | null): Promise<void> {
    const { log, pool } = this.#options;
    const startedAt = performance.now();
    const { generation, graph, probes } = await this.#load(version);
    this.#next = generation;
    // An empty start serves at once and fills from the beginning of the feed while it serves.
    if (version !== null) await generation.follower.catchUp();
    const request: OpenGeneration = { handle: generation.table.handle(), graph, probes };
    const opened = (await pool.broadcast(
      'open',
      request,
      `generation ${generation.id}`,
    )) as OpenedGeneration[];
    Object.assign(generation, opened[0]);
    const old = this.#current;
    this.#current = generation;
    this.#next = undefined;
    generation.follower.start();
    const { id, search, table } = generation;
    log(
      'info',
      { id, search, rows: table.rows, ms: Math.round(performance.now() - startedAt) },
      'generation serves',
    );
    const { modelProblems, searchReason } = generation;
    if (modelProblems.length > 0)
      log('warn', { problems: modelProblems }, 'not every model serves as configured');
    if (searchReason !== null) log('warn', { reason: searchReason }, 'the published graph is not used');
    if (old) await this.#drain(old);
  }

  async #load(
    version: string | null,
  ): Promise<{ generation: Generation; graph: GraphFile | null; probes: number | null }> {
    const { indexDir, liveCapacity, tower, beginning } = this.#options;
    const loaded = version === null ? null : await loadGeneration(indexDir, version, { liveCapacity });
    if (loaded && loaded.manifest.tower !== tower) {
      const reason = `index ${version} was built with ${loaded.manifest.tower}, the service runs ${tower}`;
      throw new FeedrankError('corrupt_artifact', reason);
    }
    const table = loaded?.table ?? emptyGeneration(liveCapacity);
    const writer = new CatalogueWriter(table);
    const { changes, applier, changesPollMs, onApplied, onChangeFailure } = this.#options;
    const follower = new Follower({
      changes,
      applier,
      table: writer,
      from: loaded?.manifest.position ?? beginning,
      userState: true,
      pollMs: changesPollMs,
      onApplied,
      onFailure: onChangeFailure,
    });
    const generation: Generation = {
      id: table.generation,
      table,
      writer,
      follower,
      search: 'none',
      searchReason: null,
      models: [],
      modelProblems: [],
      inUse: 0,
    };
    return { generation, graph: loaded?.graph ?? null, probes: loaded?.probes ?? null };
  }

  async #drain(old: Generation): Promise<void> {
    await old.follower.stop();
    while (old.inUse > 0) await new Promise((resolve) => setTimeout(resolve, 20));
    const { pool } = this.#options;
    pool.forget(`generation ${old.id}`);
    await pool.broadcast('close-generation', old.id, null);
  }
}
