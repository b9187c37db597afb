import { postgresFaults } from '../../scripts/faults/scenarios/postgres-faults.ts';
import { faultTest } from './scenario-test.ts';

faultTest(postgresFaults);
