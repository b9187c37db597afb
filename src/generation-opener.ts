// Opens one index version beside whatever serves: loads it, replays the changes since its build, opens it in every feed
// worker and asks golden queries; closes it when its last request is done. Called by generations.ts.
import type { Applier } from './applier.ts';
import { emptyGeneration, loadGeneration } from './candidates/index/artifact.ts';
import type { Manifest } from './candidates/index/artifact-manifest.ts';
import type { PostTable } from './candidates/index/post-table.ts';
import { CatalogueWriter } from './catalogue-writer.ts';
import type { ChangeStream, Position, SqlChangeFeed } from './contracts.ts';
import { FeedrankError } from './errors.ts';
import { Follower } from './follower.ts';
import type { WorkerPool } from './pool.ts';
import { steadyNow } from './steady-clock.ts';
import type { OpenedGeneration, OpenGeneration } from './worker.ts';

/** A published index with less than this share of the posts that serve is a mistake, once there are so many. */
const LEAST_ROWS_SHARE = 0.5;
const PROBE_ROWS = 1000;
/** Golden queries may wait for a free worker behind every request. */
const PROBE_MS = 30_000;
const PROBE_PRIORITY = 100;
const DRAIN_POLL_MS = 20;

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

export interface GenerationOpenerOptions {
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
  onApplied: (kinds: string[]) => void;
  onChangeFailure: (reason: string) => void;
}

export class GenerationOpener {
  readonly #options: GenerationOpenerOptions;
  readonly #onExpired: () => void;

  /** `onExpired`: a generation missed changes that are not kept any more. */
  constructor(options: GenerationOpenerOptions, onExpired: () => void) {
    this.#options = options;
    this.#onExpired = onExpired;
  }

  /**
   * null opens an empty generation. `onMade`: from then on writes must go to it too.
   * @throws FeedrankError(corrupt_artifact) with what is wrong; nothing of it is open then.
   */
  async open(
    version: string | null,
    serving: Generation | undefined,
    onMade: (generation: Generation) => void,
  ): Promise<Generation> {
    const { generation, graph, probes } = await this.#load(version);
    onMade(generation);
    // An empty start serves at once and fills from the beginning of the feed while it serves.
    if (version !== null || serving) await generation.follower.catchUp();
    const request: OpenGeneration = { handle: generation.table.handle(), graph, probes };
    try {
      const key = `generation ${generation.id}`;
      const opened = (await this.#options.pool.broadcast('open', request, key)) as OpenedGeneration[];
      Object.assign(generation, opened[0]);
      if (version !== null) await this.#probe(generation, serving?.table);
    } catch (error) {
      await this.#abandon(generation, serving?.id);
      throw error;
    }
    return generation;
  }

  /** Resolves when its requests are done and no worker holds it. */
  async drain(old: Generation): Promise<void> {
    await old.follower.stop();
    while (old.inUse > 0) await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
    const { pool } = this.#options;
    pool.forget(`generation ${old.id}`);
    await pool.broadcast('close-generation', old.id, null);
  }

  /** @throws FeedrankError(corrupt_artifact) where the search does not find what it must. */
  async #probe({ id, table }: Generation, serving: PostTable | undefined): Promise<void> {
    if (serving && serving.rows >= PROBE_ROWS && table.rows < serving.rows * LEAST_ROWS_SHARE) {
      const reason = `has ${table.rows} posts, what serves has ${serving.rows}`;
      throw new FeedrankError('corrupt_artifact', reason);
    }
    const { pool } = this.#options;
    const reason = (await pool.run('probe-index', id, steadyNow() + PROBE_MS, PROBE_PRIORITY)) as
      | string
      | null;
    if (reason !== null) throw new FeedrankError('corrupt_artifact', reason);
  }

  async #abandon({ id, follower }: Generation, servingId: string | undefined): Promise<void> {
    const { pool } = this.#options;
    pool.forget(`generation ${id}`);
    await follower.stop();
    // A generation of the same id may serve: it was loaded anew.
    if (servingId !== id) await pool.broadcast('close-generation', id, null).catch(() => {});
  }

  async #load(
    version: string | null,
  ): Promise<{ generation: Generation } & Pick<OpenGeneration, 'graph' | 'probes'>> {
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
      onExpired: this.#onExpired,
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
}

/** Recall that calibration measured for the search that the manifest names. */
function calibratedRecall({ search, calibration }: Manifest): number | null {
  const measured = calibration.measured.find(
    ({ kind, ef, probes }) => kind === search.kind && ef === search.ef && probes === search.probes,
  );
  return measured?.recall ?? null;
}
