// Restarts a replica that ended, by the policy of deploy/feedrank.service (Restart, RestartSec): what systemd does on
// a real machine. Called by the scenarios that kill one.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sleep } from './clock.ts';
import { REPOSITORY } from './fault-world.ts';
import type { Service } from './service.ts';

/** Returns what ends the supervision. */
export function supervise(service: Service): () => Promise<void> {
  const restartMs = restartDelayMs();
  let watching = true;
  const watch = async () => {
    while (watching) {
      await service.ended();
      if (!watching) return;
      await sleep(restartMs);
      if (watching && !service.alive) service.spawn();
      await sleep(20);
    }
  };
  const watched = watch();
  return async () => {
    watching = false;
    await service.stop();
    await watched;
  };
}

function restartDelayMs(): number {
  const unit = readFileSync(join(REPOSITORY, 'deploy', 'feedrank.service'), 'utf8');
  const delay = /^RestartSec=(\d+)ms$/m.exec(unit);
  if (!delay || !/^Restart=always$/m.test(unit))
    throw new Error('deploy/feedrank.service does not restart always');
  return Number(delay[1]);
}
