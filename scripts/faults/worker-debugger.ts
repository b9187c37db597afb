// Makes a feed worker of a running service hang or run out of memory, by the debugger's protocol (the process runs with
// --inspect on loopback): real faults in the real worker, without a line in the product that could cause them.
import type { Service } from './service.ts';

/** What a service needs for it: a debugger on a free loopback port, and little heap for a worker to use up. */
export const DEBUGGED = { NODE_OPTIONS: '--inspect=127.0.0.1:0', FEED_WORKER_HEAP_MB: '256' };

interface Message {
  method?: string;
  params?: { sessionId: string; workerInfo?: { url: string } };
}

const ATTACH_MS = 10_000;

export class WorkerDebugger {
  readonly #socket: WebSocket;
  /** Sessions of the feed workers that live, oldest first. */
  readonly #workers: string[] = [];
  #id = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener('message', ({ data }) => {
      const { method, params } = JSON.parse(String(data)) as Message;
      const gone =
        method === 'NodeWorker.detachedFromWorker' ? this.#workers.indexOf(params?.sessionId ?? '') : -1;
      if (gone >= 0) this.#workers.splice(gone, 1);
      if (method !== 'NodeWorker.attachedToWorker' || !params?.workerInfo?.url.endsWith('/worker.ts')) return;
      this.#workers.push(params.sessionId);
    });
  }

  /** @throws Error when the service has no debugger or not so many feed workers. */
  static async attach(service: Service, workers: number): Promise<WorkerDebugger> {
    const address = /Debugger listening on (ws:\/\/127\.0\.0\.1:\S+)/.exec(service.log)?.[1];
    if (!address) throw new Error('the service runs without a debugger');
    const socket = new WebSocket(address);
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve, { once: true });
      socket.addEventListener('error', () => reject(new Error('the debugger does not answer')), {
        once: true,
      });
    });
    const attached = new WorkerDebugger(socket);
    attached.#send('NodeWorker.enable', { waitForDebuggerOnStart: false });
    const giveUpAt = Date.now() + ATTACH_MS;
    while (attached.#workers.length < workers) {
      if (Date.now() > giveUpAt)
        throw new Error(`the debugger sees ${attached.#workers.length} feed workers`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return attached;
  }

  /** A loop that nothing ends for so long. */
  hang(worker: number, ms: number): void {
    this.#evaluate(worker, `{ const end = Date.now() + ${ms}; while (Date.now() < end); }`);
  }

  /** The newest one takes memory until there is no more. */
  exhaust(): void {
    this.#evaluate(
      this.#workers.length - 1,
      'const taken = []; for (;;) taken.push(new Array(1e5).fill({ taken }))',
    );
  }

  close(): void {
    this.#socket.close();
  }

  #evaluate(worker: number, expression: string): void {
    const message = JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression } });
    this.#send('NodeWorker.sendMessageToWorker', { sessionId: this.#workers[worker], message });
  }

  #send(method: string, params: object): void {
    this.#socket.send(JSON.stringify({ id: ++this.#id, method, params }));
  }
}
