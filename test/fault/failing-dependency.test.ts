import { failingDependency } from '../../scripts/faults/scenarios/failing-dependency.ts';
import { faultTest } from './scenario-test.ts';

faultTest(failingDependency);
