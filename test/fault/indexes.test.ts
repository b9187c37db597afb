import { badIndexes } from '../../scripts/faults/scenarios/bad-indexes.ts';
import { faultTest } from './scenario-test.ts';

faultTest(badIndexes);
