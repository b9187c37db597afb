// A process of its own for a version that nobody has run yet: what hangs, crashes or eats memory in it is not the
// service. Reads the check from its argument, prints one line of JSON. Started by model-check.ts only.
import { setPriority } from 'node:os';
import { messageOf } from '../../errors.ts';
import { checkRanker, type ModelCheck } from '../onnx-model-check.ts';

try {
  setPriority(0, 10);
} catch {
  // An optimisation only.
}
const check = JSON.parse(process.argv[2]) as ModelCheck;
const answer = await checkRanker(check).then(
  (checked) => ({ checked }),
  (error) => ({ refused: messageOf(error) }),
);
process.stdout.write(`${JSON.stringify(answer)}\n`, () => process.exit(0));
