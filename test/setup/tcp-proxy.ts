// A TCP proxy between a client and its server, for faults: delay, throttle, cut in the middle of an answer, reset,
// black hole. Counts what passes, so that tests can tell how often a failing server was asked.
import { connect, createServer, type Socket } from 'node:net';

/**
 * pass: forwards. refuse: resets what is open and what comes. silent: accepts and forwards nothing (a black hole).
 * drop: every answer is cut after its first byte and the connection closed.
 */
export type ProxyMode = 'pass' | 'refuse' | 'silent' | 'drop';

export interface TcpProxy {
  port: number;
  mode(mode: ProxyMode): void;
  /** Added to each direction's every byte; 0 = none. */
  delay(ms: number): void;
  /** Bytes a second of each direction of each connection; null = no limit. */
  throttle(bytesPerSecond: number | null): void;
  counts(): { connections: number; fromClients: number };
  close(): Promise<void>;
}

export interface TcpProxyOptions {
  host: string;
  port: number;
  /** Address to listen on; default loopback. */
  listen?: string;
  /** What a chunk from a client counts as, for `counts().fromClients`; default 1. */
  measure?: (chunk: Buffer) => number;
}

interface Conditions {
  mode: ProxyMode;
  delayMs: number;
  bytesPerSecond: number | null;
}

export async function startTcpProxy(target: TcpProxyOptions): Promise<TcpProxy> {
  const now: Conditions = { mode: 'pass', delayMs: 0, bytesPerSecond: null };
  const counts = { connections: 0, fromClients: 0 };
  const measure = target.measure ?? (() => 1);
  const sockets = new Set<Socket>();
  const track = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
  };
  const server = createServer((client) => {
    counts.connections++;
    track(client);
    if (now.mode === 'refuse') {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect(target.port, target.host);
    track(upstream);
    const count = (chunk: Buffer) => {
      counts.fromClients += measure(chunk);
    };
    forward(client, upstream, now, { count, cuts: false });
    forward(upstream, client, now, { count: () => {}, cuts: true });
  });
  await new Promise<void>((resolve) => server.listen(0, target.listen ?? '127.0.0.1', resolve));
  const address = server.address();
  if (!address || typeof address !== 'object') throw new Error('no port');
  return {
    port: address.port,
    mode(next) {
      now.mode = next;
      if (next === 'refuse') for (const socket of sockets) socket.resetAndDestroy();
    },
    delay(ms) {
      now.delayMs = ms;
    },
    throttle(bytesPerSecond) {
      now.bytesPerSecond = bytesPerSecond;
    },
    counts: () => ({ ...counts }),
    close: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** One direction. Order is kept; the reading side waits while more than a few chunks are held back. */
function forward(
  from: Socket,
  to: Socket,
  now: Conditions,
  { count, cuts }: { count: (chunk: Buffer) => void; cuts: boolean },
): void {
  const held: { chunk: Buffer; dueAt: number }[] = [];
  let freeAt = 0;
  let timer: NodeJS.Timeout | undefined;
  const flush = () => {
    timer = undefined;
    while (held.length > 0 && held[0].dueAt <= performance.now()) to.write(held.shift()!.chunk);
    if (held.length > 0) timer = setTimeout(flush, held[0].dueAt - performance.now());
    else if (from.readableEnded) to.end();
    if (held.length < 64 && from.isPaused()) from.resume();
  };
  from.on('data', (chunk) => {
    count(chunk);
    if (now.mode === 'silent') return;
    if (now.mode === 'drop' && cuts) {
      to.write(chunk.subarray(0, 1), () => to.destroy());
      return;
    }
    const sendMs = now.bytesPerSecond === null ? 0 : (1000 * chunk.length) / now.bytesPerSecond;
    if (held.length === 0 && now.delayMs === 0 && sendMs === 0) {
      to.write(chunk);
      return;
    }
    freeAt = Math.max(freeAt, performance.now()) + sendMs;
    held.push({ chunk, dueAt: freeAt + now.delayMs });
    if (held.length >= 64) from.pause();
    timer ??= setTimeout(flush, held[0].dueAt - performance.now());
  });
  from.on('end', () => {
    if (held.length === 0) to.end();
  });
  from.on('close', () => {
    if (from.errored || held.length === 0) to.destroy();
  });
  to.on('close', () => clearTimeout(timer));
}
