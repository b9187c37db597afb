import { killedIngestion } from '../../scripts/faults/scenarios/killed-ingestion.ts';
import { faultTest } from './scenario-test.ts';

faultTest(killedIngestion);
