// The updater's process: configuration → stores → lead or stand by → stop on SIGTERM or SIGINT.
import { startUpdater } from './composition/updater.ts';
import { readConfig } from './config.ts';
import { messageOf } from './errors.ts';
import { createLogger } from './logger.ts';

const STOP_MS = 20_000;

const HELP = `usage: npm run updater

Turns committed changes into the users' online state in Redis and into the change stream that the replicas follow.
Several may run: one leads, the others stand by. Configured by the same environment variables as the service; needs
DATABASE_URL (with wal_level=logical and a user who may replicate) and REDIS_URL. /health/ready and /metrics are on
UPDATER_PORT. Without an updater the replicas read changes from SQL themselves.`;

const [flag] = process.argv.slice(2);
if (flag === '--help' || flag === '-h') {
  console.log(HELP);
  process.exit(0);
}
if (flag !== undefined) {
  console.error(`updater: takes no flags, got '${flag}'; it is configured by environment variables (--help)`);
  process.exit(2);
}

try {
  const config = readConfig();
  const logger = createLogger(config.LOG_LEVEL);
  const updater = await startUpdater(config, (level, details, message) => logger[level](details, message));
  logger.info({ url: updater.url }, 'updater listening');
  let stopping = false;
  const stop = async (signal: string) => {
    if (stopping) return;
    stopping = true;
    logger.info({ signal }, 'stopping');
    setTimeout(() => process.exit(1), STOP_MS).unref();
    await updater.close();
    process.exit(0);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
} catch (error) {
  console.error(`updater: ${messageOf(error).replace(/\s*\n\s*/g, ' ')}`);
  process.exit(1);
}
