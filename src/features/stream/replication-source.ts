// Reads one replication slot: transactions in commit order as numbered changes, with backpressure on the server, and
// confirms to it what has been applied. One reader at a time; called by updater.ts.
import { LogicalReplicationService, type Pgoutput, PgoutputPlugin } from 'pg-logical-replication';
import { messageOf } from '../../errors.ts';
import type { NumberedChange } from './change-publisher.ts';
import { formatLsn, type Lsn, parseLsn } from './log-position.ts';
import { PUBLICATION } from './replication-slot.ts';
import { changeOfRow, type RowChange } from './row-changes.ts';

/** Changes read ahead of the consumer; the server waits beyond. */
const READ_AHEAD = 4_000;

export interface ReadChange extends Omit<NumberedChange, 'change'> {
  change: Exclude<RowChange, null>;
  /** 64-bit id of its transaction, decimal. */
  txid: string;
}

export interface ReadBatch {
  changes: ReadChange[];
  /** Every transaction that committed at or before it is in this batch or was in one before. */
  doneLsn: Lsn;
  /** May be confirmed once the batch is applied; null when a transaction is not complete. */
  confirmLsn: Lsn | null;
}

export class ReplicationSource {
  readonly #service: LogicalReplicationService;
  readonly #slot: string;
  readonly #plugin = new CountingPlugin({ protoVersion: 1, publicationNames: [PUBLICATION] });
  #taken = 0;
  #changes: ReadChange[] = [];
  #lsn: Lsn = 0n;
  #index = 0;
  #inTransaction = false;
  #doneLsn: Lsn = 0n;
  #takenDoneLsn: Lsn = 0n;
  #failure: Error | null = null;
  #wake: (() => void) | null = null;
  #drained: (() => void) | null = null;

  constructor(connectionString: string, slot: string) {
    this.#slot = slot;
    this.#service = new LogicalReplicationService(
      { connectionString, keepAlive: true, application_name: 'feedrank-updater' },
      // Its own timer would confirm what was only received.
      { acknowledge: { auto: false, timeoutSeconds: 0 }, flowControl: { enabled: true } },
    );
    this.#service.on('data', (_lsn: string, message: Pgoutput.Message) => this.#take(message));
    this.#service.on('heartbeat', (lsn: string) => this.#keptAlive(parseLsn(lsn)));
    this.#service.on('error', (error: Error) => this.#fail(error));
  }

  /** Begins to read where the slot stands. A failure, also a later one, is thrown by `next`. */
  start(): void {
    this.#service.subscribe(this.#plugin, this.#slot).then(
      () => this.#fail(new Error('the replication connection ended')),
      (error) => this.#fail(error instanceof Error ? error : new Error(messageOf(error))),
    );
  }

  /** The next changes, at most `limit`, or an empty batch after `waitMs` or when only the position moved. */
  async next(limit: number, waitMs: number): Promise<ReadBatch> {
    if (this.#isEmpty() && !this.#failure) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, waitMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = null;
    }
    if (this.#failure) throw this.#failure;
    const changes = this.#changes.splice(0, limit);
    if (this.#changes.length < READ_AHEAD) this.#drained?.();
    const complete = this.#changes.length === 0;
    // A part of the last transaction may still be to come: everything before it is done.
    const last = changes.at(-1)?.lsn ?? 0n;
    const doneLsn = complete ? this.#doneLsn : max(this.#takenDoneLsn, last - 1n);
    this.#takenDoneLsn = doneLsn;
    return { changes, doneLsn, confirmLsn: doneLsn > 0n ? doneLsn : null };
  }

  /** Tells the server that it need not keep what committed at or before `lsn`. */
  async confirm(lsn: Lsn): Promise<void> {
    // The library confirms the byte after the one it is given; a later commit cannot begin before that.
    await this.#service.acknowledge(formatLsn(lsn));
  }

  /** Asks the server for its position: it comes as a keep-alive once everything before it has been sent. */
  async ask(appliedLsn: Lsn): Promise<void> {
    await this.#service.acknowledge(formatLsn(appliedLsn), true);
  }

  async stop(): Promise<void> {
    this.#drained?.();
    await this.#service.destroy().catch(() => {});
  }

  #isEmpty(): boolean {
    return this.#changes.length === 0 && this.#doneLsn <= this.#takenDoneLsn;
  }

  async #take(message: Pgoutput.Message): Promise<void> {
    await this.#takeIn(message);
    this.#taken++;
  }

  async #takeIn(message: Pgoutput.Message): Promise<void> {
    switch (message.tag) {
      case 'begin':
        this.#lsn = parseLsn(message.commitLsn as string);
        this.#index = 0;
        this.#inTransaction = true;
        return;
      case 'insert':
      case 'update': {
        let change: RowChange;
        try {
          change = changeOfRow(message.relation.name, message.tag, message.new);
        } catch (error) {
          this.#fail(error as Error);
          return;
        }
        if (change === null) return;
        const txid = String(message.new.txid);
        this.#changes.push({ lsn: this.#lsn, index: this.#index++, change, txid });
        if (this.#changes.length < READ_AHEAD) return;
        this.#wake?.();
        await new Promise<void>((resolve) => {
          this.#drained = resolve;
        });
        this.#drained = null;
        return;
      }
      case 'commit':
        this.#inTransaction = false;
        this.#doneLsn = max(this.#doneLsn, parseLsn(message.commitLsn as string));
        this.#wake?.();
    }
  }

  /** Everything that committed before `lsn` has been sent, unless some of it waits in the library's queue. */
  #keptAlive(lsn: Lsn): void {
    if (this.#inTransaction || this.#plugin.received !== this.#taken) return;
    this.#doneLsn = max(this.#doneLsn, lsn - 1n);
    this.#wake?.();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#wake?.();
    this.#drained?.();
  }
}

/** Messages wait in the library's queue; a keep-alive overtakes them there, and is believed only when none waits. */
class CountingPlugin extends PgoutputPlugin {
  received = 0;

  override parse(buffer: Buffer): Pgoutput.Message {
    this.received++;
    return super.parse(buffer);
  }
}

function max(a: Lsn, b: Lsn): Lsn {
  return a > b ? a : b;
}
