// Which generation serves: loads the published one (or starts empty), replays the changes since its build, opens it
// in every feed worker, and swaps to a newer one without losing a request. A generation in use is never closed.
import type { Applier } from './applier.ts';
import {
  currentVersion,
  emptyGeneration,
  type GraphFile,
  listVersions,
  loadGeneration,
} from './candidates/index/artifact.ts';
import type { Manifest } from './candidates/index/artifact-manifest.ts';
import type { PostTable } from './candidates/index/post-table.ts';
import { CatalogueWriter } from './catalogue-writer.ts';
import type { ChangeStream, Position, SqlChangeFeed } from './contracts.ts';
import { FeedrankError, messageOf } from './errors.ts';
import { Follower } from './follower.ts';
import type { WorkerPool } from './pool.ts';
import type { OpenedGeneration, OpenGeneration } from './worker.ts';

/** A published index with less than this share of the posts that serve is a mistake, once there are so many. */
const LEAST_ROWS_SHARE = 0.5;
const PROBE_ROWS = 1000;
/** Golden queries may wait for a free worker behind every request. */
const PROBE_MS = 30_000;
const PROBE_PRIORITY = 100;

export interface Generation {
  readonly id: string;
  readonly table: PostTable;
  readonly writer: CatalogueWriter;
  readonly follower: Follower;
  /** How the workers search it: `hnsw+exact`, `exact`. */
  search: string;
  /** Measured recall of the calibrated search, null when nothing was measured. */
  recall: number | null;
  /** Why a published graph is not used, null when it is or when there is none. */
  searchReason: string | null;
  inUse: number;
}

export interface GenerationsOptions {
  indexDir: string;
  liveCapacity: number;
  tower: string;
  /** Position that an empty generation is filled from: the beginning of the feed. */
  beginning: Position;
  changes: SqlChangeFeed;
  /** What an updater pushes; null: changes are read from SQL only. */
  stream?: ChangeStream | null;
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
  /** What serves missed changes that are not kept any more: it is loaded anew. */
  #expired = false;
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

  /** The published version that does not serve, null when it does. */
  get refused(): { version: string; reason: string } | null {
    return this.#refused;
  }

  /** The same in words. */
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
    const published = await currentVersion(indexDir).catch((error) => {
      this.#refuse(null, error);
      return null;
    });
    const older = published === null ? [] : (await listVersions(indexDir)).filter((one) => one < published);
    for (const version of published === null ? [] : [published, ...older.reverse()]) {
      try {
        await this.#swapTo(version);
        break;
      } catch (error) {
        // The way back is the version before; what is named as refused is the one that should serve.
        if (version === published) this.#refuse(version, error);
        else log('warn', { version, reason: messageOf(error) }, 'an older index is refused too');
      }
    }
    if (!this.#current) await this.#swapTo(null);
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
      if (this.#expired) return await this.#loadAnew(version);
      if (version === null || version === this.current.id || version === this.#refused?.version) return;
      await this.#swapTo(version);
      this.#refused = null;
    } catch (error) {
      this.#refuse(version, error);
    }
  }

  /** From the published index, or where that is too old as well, from the store; what serves goes on meanwhile. */
  async #loadAnew(version: string | null): Promise<void> {
    this.#options.log('warn', { version }, 'changes were missed: the generation is loaded anew');
    try {
      await this.#swapTo(version);
    } catch (error) {
      if (version === null) throw error;
      this.#refuse(version, error);
      await this.#swapTo(null);
    }
    this.#expired = false;
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
    if (version !== null || this.#current) await generation.follower.catchUp();
    const request: OpenGeneration = { handle: generation.table.handle(), graph, probes };
    try {
      const key = `generation ${generation.id}`;
      const opened = (await pool.broadcast('open', request, key)) as OpenedGeneration[];
      Object.assign(generation, opened[0]);
      if (version !== null) await this.#probe(generation);
    } catch (error) {
      await this.#abandon(generation);
      throw error;
    }
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
    const { searchReason } = generation;
    if (searchReason !== null) log('warn', { reason: searchReason }, 'the published graph is not used');
    if (old) await this.#drain(old);
  }

  /** @throws FeedrankError(corrupt_artifact) where the search does not find what it must. */
  async #probe({ id, table }: Generation): Promise<void> {
    const serving = this.#current?.table;
    if (serving && serving.rows >= PROBE_ROWS && table.rows < serving.rows * LEAST_ROWS_SHARE) {
      const reason = `has ${table.rows} posts, what serves has ${serving.rows}`;
      throw new FeedrankError('corrupt_artifact', reason);
    }
    const { pool } = this.#options;
    const reason = (await pool.run('probe-index', id, Date.now() + PROBE_MS, PROBE_PRIORITY)) as
      | string
      | null;
    if (reason !== null) throw new FeedrankError('corrupt_artifact', reason);
  }

  async #abandon({ id, follower }: Generation): Promise<void> {
    const { pool } = this.#options;
    pool.forget(`generation ${id}`);
    await follower.stop();
    // A generation of the same id may serve: it was loaded anew.
    if (this.#current?.id !== id) await pool.broadcast('close-generation', id, null).catch(() => {});
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
    const { changes, stream, applier, changesPollMs, onApplied, onChangeFailure } = this.#options;
    const follower = new Follower({
      changes,
      stream,
      applier,
      table: writer,
      from: loaded?.manifest.position ?? beginning,
      userState: true,
      pollMs: changesPollMs,
      onApplied,
      onFailure: onChangeFailure,
      onExpired: () => {
        this.#expired = true;
      },
    });
    const generation: Generation = {
      id: table.generation,
      table,
      writer,
      follower,
      search: 'none',
      recall: loaded ? calibratedRecall(loaded.manifest) : null,
      searchReason: null,
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

/** Recall that calibration measured for the search that the manifest names. */
function calibratedRecall({ search, calibration }: Manifest): number | null {
  const measured = calibration.measured.find(
    ({ kind, ef, probes }) => kind === search.kind && ef === search.ef && probes === search.probes,
  );
  return measured?.recall ?? null;
}
