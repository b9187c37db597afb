import { updaterFaults } from '../../scripts/faults/scenarios/updater-faults.ts';
import { faultTest } from './scenario-test.ts';

faultTest(updaterFaults);
