import { hostileClients } from '../../scripts/faults/scenarios/hostile-clients.ts';
import { faultTest } from './scenario-test.ts';

faultTest(hostileClients);
