// Runs one scenario and makes its result, whatever happens in it. Called by scripts/test-faults.ts and the tests.
import { messageOf } from '../../src/errors.ts';
import { machine } from '../bench/machine.ts';
import type { Criterion } from './criterion.ts';
import { measureForeignLoad } from './foreign-load.ts';
import { Impossible, passed, type Scenario, type ScenarioContext, type ScenarioResult } from './scenario.ts';

export async function runScenario(scenario: Scenario, context: ScenarioContext): Promise<ScenarioResult> {
  const { id, title } = scenario;
  process.stderr.write(`${String(id).padStart(2)}  ${title}\n`);
  const startedAt = new Date();
  const foreignLoad = measureForeignLoad();
  let criteria: Criterion[] = [];
  let skipped: string | undefined;
  try {
    criteria = await scenario.run(context);
  } catch (error) {
    if (error instanceof Impossible) skipped = error.message;
    else
      criteria = [
        { name: 'runs to its end', limit: 'holds', value: messageOf(error), pass: false, timed: false },
      ];
  }
  const result: ScenarioResult = {
    id,
    title,
    criteria: criteria.map((one) => ({ ...one, value: withoutPaths(one.value) })),
    ...(skipped === undefined ? {} : { skipped }),
    startedAt: startedAt.toISOString(),
    seconds: Math.round((Date.now() - startedAt.getTime()) / 1000),
    quick: context.quick,
    machine: machine(),
    foreignShare: foreignLoad(),
  };
  for (const { name, limit, value, pass } of result.criteria) {
    process.stderr.write(`    ${pass ? 'ok    ' : 'FAILED'} ${name}: ${value} (${limit})\n`);
  }
  const verdict = skipped ? `skipped: ${skipped}` : passed(result) ? 'passed' : 'FAILED';
  process.stderr.write(`    ${verdict}, ${result.seconds} s\n`);
  return result;
}

/** The report tells of the product, not of the folders of the machine that it was measured on. */
function withoutPaths(text: string): string {
  return text
    .replaceAll(/(?:\/[\w.@-]+){2,}/g, '(a file)')
    .replaceAll(/\s+/g, ' ')
    .trim();
}
