import { workerFaults } from '../../scripts/faults/scenarios/worker-faults.ts';
import { faultTest } from './scenario-test.ts';

faultTest(workerFaults);
