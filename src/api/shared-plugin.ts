// A plugin whose hooks hold for the whole application, not only for what is registered inside it.
import type { FastifyInstance } from 'fastify';

export function sharedPlugin(
  plugin: (app: FastifyInstance) => Promise<void>,
): (app: FastifyInstance) => Promise<void> {
  return Object.assign(plugin, { [Symbol.for('skip-override')]: true });
}
