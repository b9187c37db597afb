// Postgres wire protocol in front of one PGlite session: several clients, one at a time, whole exchanges only.
// A client keeps the session from its first statement until its transaction ends. Runs in pglite-worker.ts.
import { Buffer } from 'node:buffer';
import { createServer, type Server, type Socket } from 'node:net';

/** The part of PGlite that is used here: bytes in, bytes out. */
export interface WireSession {
  execProtocolRawStream(message: Uint8Array, options: { onRawData(data: Uint8Array): void }): Promise<void>;
}

const SSL_REQUEST = 80877103;
const GSS_REQUEST = 80877104;
const CANCEL_REQUEST = 80877102;
const PROTOCOL_3 = 3;

const QUERY = 0x51; // Q
const SYNC = 0x53; // S
const FLUSH = 0x48; // H
const TERMINATE = 0x58; // X
const PASSWORD = 0x70; // p

/** Largest message that is accepted: a batch of 5,000 posts is a few MB. */
const MESSAGE_LIMIT_BYTES = 512 * 1024 * 1024;
/** A client that leaves its transaction open this long is cut off, so that the others go on. */
const IDLE_TRANSACTION_MS = 60_000;

interface Client {
  socket: Socket;
  /** Bytes not yet cut into messages. */
  pending: Buffer[];
  pendingBytes: number;
  started: boolean;
  /** Messages since the last Sync. */
  group: Buffer[];
  /** Complete exchanges waiting for the session. */
  queue: Uint8Array[];
  idleTimer: NodeJS.Timeout | null;
}

/** `I` idle, `T` in a transaction, `E` in a failed one. */
type SessionStatus = 'I' | 'T' | 'E';

export class PgliteWire {
  readonly #session: WireSession;
  readonly #server: Server;
  readonly #clients = new Set<Client>();
  #holder: Client | null = null;
  #busy = false;

  readonly #onCrash: (error: unknown) => void;

  /** `onCrash` is told when the session itself failed, not just a statement: it cannot be trusted any more. */
  constructor(session: WireSession, onCrash: (error: unknown) => void) {
    this.#session = session;
    this.#onCrash = onCrash;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  listen(path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(path, () => {
        this.#server.off('error', reject);
        this.#server.on('error', () => {});
        resolve();
      });
    });
  }

  /** Cuts every client off and resolves when the session rests. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const client of this.#clients) client.socket.destroy();
    await closed;
    while (this.#busy) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  #accept(socket: Socket): void {
    const client: Client = {
      socket,
      pending: [],
      pendingBytes: 0,
      started: false,
      group: [],
      queue: [],
      idleTimer: null,
    };
    this.#clients.add(client);
    socket.setNoDelay(true);
    socket.on('data', (data) => {
      client.pending.push(data);
      client.pendingBytes += data.length;
      this.#cut(client);
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.#clients.delete(client);
      client.queue.length = 0;
      if (client.idleTimer) clearTimeout(client.idleTimer);
      void this.#work();
    });
  }

  #cut(client: Client): void {
    const headerBytes = client.started ? 5 : 4;
    while (client.pendingBytes >= headerBytes && !client.socket.destroyed) {
      const first = client.pending[0];
      const head = first.length >= headerBytes ? first : join(client);
      const bytes = client.started ? head.readUInt32BE(1) + 1 : head.readUInt32BE(0);
      if (bytes < headerBytes || bytes > MESSAGE_LIMIT_BYTES) {
        client.socket.destroy();
        return;
      }
      if (client.pendingBytes < bytes) return;
      const all = join(client);
      const message = all.subarray(0, bytes);
      client.pending = all.length > bytes ? [all.subarray(bytes)] : [];
      client.pendingBytes -= bytes;
      if (client.started) this.#take(client, message);
      else this.#start(client, message);
      if (!client.started) continue;
      if (client.pendingBytes < 5) return;
    }
  }

  #start(client: Client, message: Buffer): void {
    const code = message.length >= 8 ? message.readUInt32BE(4) : 0;
    if (code === SSL_REQUEST || code === GSS_REQUEST) {
      client.socket.write('N');
    } else if (code === CANCEL_REQUEST) {
      client.socket.end();
    } else if (code >>> 16 === PROTOCOL_3) {
      client.started = true;
      client.socket.write(GREETING);
    } else {
      client.socket.destroy();
    }
  }

  #take(client: Client, message: Buffer): void {
    const type = message[0];
    if (type === TERMINATE) {
      client.socket.end();
      return;
    }
    if (type === PASSWORD) return;
    client.group.push(message);
    // Flush asks for output before the Sync; nothing here depends on when it comes.
    if (type === FLUSH) client.group.pop();
    if (type !== QUERY && type !== SYNC) return;
    client.queue.push(new Uint8Array(Buffer.concat(client.group)));
    client.group = [];
    void this.#work();
  }

  async #work(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let client = this.#next(); client; client = this.#next()) await this.#exchange(client);
    } finally {
      this.#busy = false;
    }
  }

  /** The holder of the open transaction, else the first client that waits; null when there is nothing to do. */
  #next(): Client | null {
    const holder = this.#holder;
    if (holder) return holder.queue.length > 0 || !this.#clients.has(holder) ? holder : null;
    for (const client of this.#clients) {
      if (client.queue.length > 0) {
        // To the end of the line, so that clients take turns.
        this.#clients.delete(client);
        this.#clients.add(client);
        return client;
      }
    }
    return null;
  }

  async #exchange(client: Client): Promise<void> {
    const gone = !this.#clients.has(client);
    const message = gone ? ROLLBACK : client.queue.shift();
    if (!message) return;
    if (client.idleTimer) clearTimeout(client.idleTimer);
    client.idleTimer = null;
    let tail: Uint8Array = new Uint8Array(0);
    try {
      await this.#session.execProtocolRawStream(message, {
        onRawData: (data) => {
          tail = keepTail(tail, data);
          if (!client.socket.destroyed) client.socket.write(Buffer.from(data));
        },
      });
    } catch (error) {
      // The session itself failed: its client learns by a lost connection, with the reason in the error field.
      client.socket.end(errorMessage(error instanceof Error ? error.message : String(error)));
      this.#holder = null;
      this.#onCrash(error);
      return;
    }
    const status = statusOf(tail);
    this.#holder = status === 'I' || gone ? null : client;
    if (this.#holder) {
      client.idleTimer = setTimeout(() => client.socket.destroy(), IDLE_TRANSACTION_MS);
    }
  }
}

function join(client: Client): Buffer {
  if (client.pending.length > 1) client.pending = [Buffer.concat(client.pending)];
  return client.pending[0];
}

/** ReadyForQuery ends every exchange: `Z`, length 5, status. */
function statusOf(tail: Uint8Array): SessionStatus {
  const status = tail.length >= 6 && tail[tail.length - 6] === 0x5a ? tail[tail.length - 1] : 0x49;
  return status === 0x54 ? 'T' : status === 0x45 ? 'E' : 'I';
}

function keepTail(tail: Uint8Array, data: Uint8Array): Uint8Array {
  if (data.length >= 6) return data.slice(-6);
  const joined = new Uint8Array(tail.length + data.length);
  joined.set(tail);
  joined.set(data, tail.length);
  return joined.slice(-6);
}

function encode(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(type, 0, 'latin1');
  head.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

function errorMessage(reason: string): Buffer {
  const code = /no space left|ENOSPC/i.test(reason) ? '53100' : '57P02';
  const text = reason.replaceAll('\0', ' ');
  return encode('E', Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${text}\0\0`));
}

const ROLLBACK = new Uint8Array(encode('Q', Buffer.from('rollback\0')));
const READY = encode('Z', Buffer.from('I'));
/** AuthenticationOk, the parameters that clients look at, ReadyForQuery. */
const GREETING = Buffer.concat([
  encode('R', Buffer.alloc(4)),
  ...['server_version\x0018.0', 'client_encoding\0UTF8', 'standard_conforming_strings\0on'].map((parameter) =>
    encode('S', Buffer.from(`${parameter}\0`)),
  ),
  encode('K', Buffer.alloc(8)),
  READY,
]);
