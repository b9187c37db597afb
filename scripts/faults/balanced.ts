// Two replicas behind HAProxy, as deploy/ has it. Called by the scenarios that take one of them away.
import { join } from 'node:path';
import { type HaproxyServer, startHaproxy } from '../../test/setup/haproxy-server.ts';
import { Impossible, type ScenarioContext } from './scenario.ts';
import type { Service } from './service.ts';

/** Both replicas must be ready. @throws Impossible where there is no HAProxy. */
export async function balance(
  context: ScenarioContext,
  replicas: [Service, Service],
): Promise<HaproxyServer> {
  const [a, b] = replicas.map((replica) => replica.address);
  try {
    return await startHaproxy(join(context.cacheDir, 'servers'), [a, b]);
  } catch (error) {
    if (/no haproxy|apt/.test((error as Error).message)) throw new Impossible((error as Error).message);
    throw error;
  }
}
