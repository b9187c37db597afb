import { redisFaults } from '../../scripts/faults/scenarios/redis-faults.ts';
import { faultTest } from './scenario-test.ts';

faultTest(redisFaults);
