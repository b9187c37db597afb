// The fault table, in its order.
import type { Scenario } from './scenario.ts';
import { badIndexes } from './scenarios/bad-indexes.ts';
import { badModels } from './scenarios/bad-models.ts';
import { cutOffRegion } from './scenarios/cut-off-region.ts';
import { failingDependency } from './scenarios/failing-dependency.ts';
import { fullDisk } from './scenarios/full-disk.ts';
import { hostileClients } from './scenarios/hostile-clients.ts';
import { killedIngestion } from './scenarios/killed-ingestion.ts';
import { overload } from './scenarios/overload.ts';
import { postgresFaults } from './scenarios/postgres-faults.ts';
import { prefetchBurst } from './scenarios/prefetch-burst.ts';
import { redisFaults } from './scenarios/redis-faults.ts';
import { rollingRestart } from './scenarios/rolling-restart.ts';
import { soak } from './scenarios/soak.ts';
import { updaterFaults } from './scenarios/updater-faults.ts';
import { workerFaults } from './scenarios/worker-faults.ts';

export const SCENARIOS: readonly Scenario[] = [
  redisFaults,
  postgresFaults,
  killedIngestion,
  fullDisk,
  workerFaults,
  badModels,
  badIndexes,
  overload,
  prefetchBurst,
  failingDependency,
  rollingRestart,
  updaterFaults,
  hostileClients,
  soak,
  cutOffRegion,
];
