// The process: configuration → compose → listen → drain on SIGTERM or SIGINT.
import './garbage-collection.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import { composeService } from './compose.ts';
import { readConfig } from './config.ts';
import { messageOf } from './errors.ts';
import { createLogger } from './logger.ts';

const DRAIN_MS = 20_000;

const HELP = `usage: npm start

Serves the feed. Configured by environment variables (README.md lists them, .env.example has them all):
  PORT, HOST, DATA_DIR, DATABASE_URL, REDIS_URL, …
Posts come from the store and the index that npm run build-index published in DATA_DIR/index.`;

const [flag] = process.argv.slice(2);
if (flag === '--help' || flag === '-h') {
  console.log(HELP);
  process.exit(0);
}
if (flag !== undefined) {
  console.error(
    `feedrank: takes no flags, got '${flag}'; it is configured by environment variables (--help)`,
  );
  process.exit(2);
}

try {
  const config = readConfig();
  const logger = createLogger(config.LOG_LEVEL);
  const service = await composeService(config, logger);
  let draining = false;
  const drain = async (signal: string) => {
    if (draining) return;
    draining = true;
    logger.info({ signal }, 'draining');
    setTimeout(() => process.exit(1), config.DRAIN_DELAY_MS + DRAIN_MS).unref();
    service.draining.begin(`draining after ${signal}`);
    await sleep(config.DRAIN_DELAY_MS);
    await service.close();
    process.exit(0);
  };
  process.on('SIGTERM', drain);
  process.on('SIGINT', drain);
  await service.app.listen({ host: config.HOST, port: config.PORT });
} catch (error) {
  console.error(`feedrank: ${messageOf(error)}`);
  process.exit(1);
}
