// Worker thread that holds PGlite: its statements are synchronous and would block the service's event loop.
// Started by pglite-server.ts, which owns the folder's claim; ends when told to, after PGlite has closed.
import { parentPort, workerData } from 'node:worker_threads';
import { PGlite } from '@electric-sql/pglite';
import { PgliteWire } from './pglite-wire.ts';

export interface PgliteWorkerData {
  databaseDir: string;
  socketPath: string;
}

export type PgliteWorkerReport = { kind: 'ready' } | { kind: 'closed' } | { kind: 'failed'; reason: string };

const port = parentPort;
if (!port) throw new Error('pglite-worker runs as a worker thread');
const { databaseDir, socketPath } = workerData as PgliteWorkerData;

const report = (message: PgliteWorkerReport) => port.postMessage(message);

try {
  // Strict durability: an answer leaves only after PGlite has handed its writes to the file system.
  const database = await PGlite.create({ dataDir: databaseDir, relaxedDurability: false });
  const wire = new PgliteWire(database, () => {
    // The clients' last answers leave first; then the supervisor starts another worker, which recovers from the log.
    setTimeout(() => process.exit(1), 50);
  });
  await wire.listen(socketPath);
  port.once('message', async () => {
    try {
      await wire.close();
      await database.close();
      report({ kind: 'closed' });
    } catch (error) {
      report({ kind: 'failed', reason: error instanceof Error ? error.message : String(error) });
    }
    port.close();
  });
  report({ kind: 'ready' });
} catch (error) {
  report({ kind: 'failed', reason: error instanceof Error ? error.message : String(error) });
  port.close();
}
