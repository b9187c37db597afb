// The work of the leading updater: committed transactions, in order, into the users' online state and into the change
// stream. At least once and idempotent: applied first, then checkpointed, then confirmed to the server.
import type { Applier } from './applier.ts';
import type { Change, ChangeFeed, PostStore } from './contracts.ts';
import { deadlineIn } from './deadline.ts';
import { FeedrankError, messageOf } from './errors.ts';
import type { ChangePublisher, NumberedChange } from './features/stream/change-publisher.ts';
import type { Lsn } from './features/stream/log-position.ts';
import type { SlotState } from './features/stream/replication-slot.ts';
import type { ReadChange, ReplicationSource } from './features/stream/replication-source.ts';
import type { Moment, StreamCheckpoint } from './features/stream/stream-checkpoint.ts';

const BATCH = 2_000;
const WAIT_MS = 50;
/** How often the position is taken, the checkpoint written and the sign of life given. */
const HEARTBEAT_MS = 1_000;
const CONFIRM_MS = 250;
const VISIBLE_MS = 2;
const STORE_TIMEOUT_MS = 10_000;
const MAX_BACKOFF_MS = 5_000;
/** Tries for a change that fails by itself, not for want of a store; then it is skipped, loudly. */
const CHANGE_TRIES = 3;

export interface StreamUpdaterOptions {
  sql: Pick<ChangeFeed, 'read' | 'position'> & Pick<PostStore, 'getPosts'>;
  applier: Pick<Applier, 'applyUsers'>;
  publisher: Pick<ChangePublisher, 'append' | 'mark' | 'start' | 'live' | 'published' | 'resume'>;
  checkpoint: Pick<StreamCheckpoint, 'read' | 'write' | 'moment' | 'visible'>;
  slot: { state(): Promise<SlotState>; make(): Promise<void> };
  openSource: () => Pick<ReplicationSource, 'start' | 'next' | 'confirm' | 'ask' | 'stop'>;
  onChanges?: (changes: readonly Change[]) => void;
  /** Everything committed at `atMs` is applied. */
  onComplete?: (atMs: number) => void;
  onReseed?: () => void;
  onStreamStart?: () => void;
  onSkipped?: (change: Change, reason: string) => void;
  onSlot?: (state: SlotState) => void;
  log: (level: 'info' | 'warn' | 'error', details: Record<string, unknown>, message: string) => void;
}

export class StreamUpdater {
  readonly #options: StreamUpdaterOptions;
  readonly #signal: AbortSignal;
  #position = '';
  #doneLsn: Lsn = 0n;
  #confirmedLsn: Lsn = 0n;
  #confirmedAtMs = 0;
  #beatAtMs = 0;
  #moment: Moment | null = null;
  #completeAtMs = 0;

  constructor(options: StreamUpdaterOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
  }

  /** Runs until the signal; rejects when the slot cannot be read. */
  async run(): Promise<void> {
    await this.#prepare();
    const source = this.#options.openSource();
    source.start();
    try {
      while (!this.#signal.aborted) {
        const batch = await source.next(BATCH, WAIT_MS);
        if (batch.changes.length > 0) await this.#apply(batch.changes);
        this.#doneLsn = batch.doneLsn;
        await this.#beat(source);
      }
      await this.#checkpoint(source);
    } finally {
      await source.stop();
    }
  }

  /** A slot that is not there, or lost its log, is made anew; what it missed comes from the SQL feed. */
  async #prepare(): Promise<void> {
    const { slot, checkpoint, publisher, sql, log, onReseed } = this.#options;
    const known = await checkpoint.read(deadlineIn(STORE_TIMEOUT_MS));
    const state = await slot.state();
    publisher.resume(known?.published ?? '');
    this.#position = known?.position ?? '';
    if (state.status !== null && state.status !== 'lost') return;
    const from = known?.position ?? (await sql.position(deadlineIn(STORE_TIMEOUT_MS)));
    const { lsn } = await checkpoint.moment(STORE_TIMEOUT_MS);
    await slot.make();
    log(
      'warn',
      { slot: state.status ?? 'absent', from },
      'the slot was made anew: changes since are read again',
    );
    if (known) onReseed?.();
    await this.#startStream(lsn);
    await this.#readAgain(from);
  }

  async #readAgain(from: string): Promise<void> {
    const { sql, log } = this.#options;
    this.#position = from;
    while (!this.#signal.aborted) {
      let read: Awaited<ReturnType<ChangeFeed['read']>>;
      try {
        read = await sql.read(this.#position, BATCH, deadlineIn(STORE_TIMEOUT_MS));
      } catch (error) {
        if (!(error instanceof FeedrankError && error.code === 'expired_cursor')) throw error;
        log('warn', { from }, 'changes since the checkpoint are not kept any more: everything is read again');
        this.#position = '';
        continue;
      }
      await this.#applyUsers(read.changes);
      this.#position = read.position;
      if (read.changes.length === 0) return;
    }
  }

  async #apply(read: readonly ReadChange[]): Promise<void> {
    await this.#untilVisible(read);
    const numbered = await this.#whole(read);
    const changes = numbered.map((one) => one.change);
    this.#options.onChanges?.(changes);
    await Promise.all([this.#publish(numbered), this.#applyUsers(changes)]);
  }

  /** What is applied is read from the database as it is now: that must not be older than the changes themselves. */
  async #untilVisible(read: readonly ReadChange[]): Promise<void> {
    const txids = [...new Set(read.map((one) => one.txid))];
    const { checkpoint } = this.#options;
    const ask = () => checkpoint.visible(txids, deadlineIn(STORE_TIMEOUT_MS));
    while (!(await this.#persist('asking for transactions', ask))) {
      await new Promise((resolve) => setTimeout(resolve, VISIBLE_MS));
    }
  }

  /** Posts whose large columns were not sent are read as they are now. */
  async #whole(read: readonly ReadChange[]): Promise<NumberedChange[]> {
    const ids = new Set<string>();
    for (const { change } of read) if (change.kind === 'reread') ids.add(change.postId);
    const list = [...ids];
    const found = await this.#persist('reading posts', () =>
      this.#options.sql.getPosts(list, deadlineIn(STORE_TIMEOUT_MS)),
    );
    const postOf = new Map(list.map((id, i) => [id, found[i]]));
    return read.map(({ lsn, index, change }) => {
      if (change.kind !== 'reread') return { lsn, index, change };
      const post = postOf.get(change.postId);
      const now: Change = post ? { kind: 'post', post } : { kind: 'post_deleted', postId: change.postId };
      return { lsn, index, change: now };
    });
  }

  async #publish(changes: readonly NumberedChange[]): Promise<void> {
    const { publisher } = this.#options;
    await this.#persist('publishing changes', async () => {
      if (await publisher.append(changes)) return;
      await this.#startStream(changes[0].lsn - 1n);
      await publisher.append(changes);
    });
  }

  async #startStream(lsn: Lsn): Promise<void> {
    const { publisher, onStreamStart, log } = this.#options;
    await this.#persist('starting the change stream', () => publisher.start(lsn));
    onStreamStart?.();
    log('warn', { id: publisher.published }, 'the change stream starts anew: replicas go on from SQL');
  }

  async #applyUsers(changes: readonly Change[]): Promise<void> {
    if (changes.length === 0) return;
    const { applier } = this.#options;
    let tries = 0;
    await this.#persist('applying changes to users', async () => {
      try {
        await applier.applyUsers(changes);
      } catch (error) {
        if (isOutage(error) || ++tries < CHANGE_TRIES) throw error;
        await this.#applyOneByOne(changes);
      }
    });
  }

  /** One change that no store takes must not stop all others. */
  async #applyOneByOne(changes: readonly Change[]): Promise<void> {
    const { applier, onSkipped, log } = this.#options;
    for (const change of changes) {
      try {
        await applier.applyUsers([change]);
      } catch (error) {
        if (isOutage(error)) throw error;
        onSkipped?.(change, messageOf(error));
        log('error', { kind: change.kind, reason: messageOf(error) }, 'a change could not be applied');
      }
    }
  }

  async #beat(source: Pick<ReplicationSource, 'confirm' | 'ask'>): Promise<void> {
    const { publisher, checkpoint, slot, onComplete, onSlot } = this.#options;
    const now = Date.now();
    if (this.#moment !== null && this.#doneLsn >= this.#moment.lsn - 1n) {
      const { position, atMs } = this.#moment;
      this.#moment = null;
      await this.#persist('marking the change stream', async () => {
        if (!(await publisher.mark(this.#doneLsn, { position, atMs })))
          await this.#startStream(this.#doneLsn);
      });
      this.#position = position;
      this.#completeAtMs = atMs;
      onComplete?.(atMs);
    }
    if (now - this.#beatAtMs >= HEARTBEAT_MS) {
      this.#beatAtMs = now;
      this.#moment ??= await checkpoint.moment(STORE_TIMEOUT_MS);
      if (this.#completeAtMs > 0) await publisher.live(this.#completeAtMs).catch(() => {});
      await this.#checkpoint(source);
      onSlot?.(await slot.state());
    } else if (this.#doneLsn > this.#confirmedLsn && now - this.#confirmedAtMs >= CONFIRM_MS) {
      await this.#checkpoint(source);
    }
    if (this.#moment !== null) await source.ask(this.#confirmedLsn);
  }

  async #checkpoint(source: Pick<ReplicationSource, 'confirm'>): Promise<void> {
    const { checkpoint, publisher } = this.#options;
    const lsn = this.#doneLsn;
    const { published } = publisher;
    await checkpoint.write({ published, position: this.#position }, deadlineIn(STORE_TIMEOUT_MS));
    if (lsn > 0n) await source.confirm(lsn);
    this.#confirmedLsn = lsn;
    this.#confirmedAtMs = Date.now();
  }

  /** Until it works or this process is told to stop: what is not applied is not confirmed. */
  async #persist<T>(what: string, work: () => Promise<T>): Promise<T> {
    for (let failures = 1; ; failures++) {
      try {
        return await work();
      } catch (error) {
        if (this.#signal.aborted) throw error;
        this.#options.log('warn', { reason: messageOf(error) }, `${what} failed`);
        const waitMs = Math.random() * Math.min(MAX_BACKOFF_MS, 50 * 2 ** failures);
        await new Promise((resolve) => setTimeout(resolve, waitMs));
      }
    }
  }
}

function isOutage(error: unknown): boolean {
  return (
    error instanceof FeedrankError &&
    ['unavailable', 'timeout', 'storage_full', 'overloaded', 'conflict'].includes(error.code)
  );
}
