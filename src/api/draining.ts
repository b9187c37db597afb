// The last minute of a process: readiness says no, so that a balancer looks elsewhere, while requests are still served
// and every answer asks its connection to close. main begins it, the health route and the application read it.
import type { FastifyInstance } from 'fastify';

export class Draining {
  #reason: string | null = null;

  /** Why no new requests should come; null while they may. */
  get reason(): string | null {
    return this.#reason;
  }

  begin(reason: string): void {
    this.#reason ??= reason;
  }
}

export function closeConnectionsWhile(app: FastifyInstance, draining: Draining): void {
  app.addHook('onSend', async (_request, reply) => {
    if (draining.reason !== null) reply.header('connection', 'close');
  });
}
