// `npm run load-test`: an open-loop load on a service of this machine, every answer checked, to a report.
import { writeFile } from 'node:fs/promises';
import { type Command, runCommand } from './import/command.ts';
import { LOAD_TEST_FLAGS, LOAD_TEST_HELP, readLoadTestOptions } from './load-test/options.ts';
import { runLoadTest } from './load-test/run.ts';
import { describeResult } from './load-test/summary.ts';

/** Figures of `run` are a LoadTestReport. */
export const loadTestCommand: Command = {
  help: LOAD_TEST_HELP,
  flags: LOAD_TEST_FLAGS,
  async run(flags) {
    const report = await runLoadTest(readLoadTestOptions(flags));
    process.stderr.write(`${describeResult(report)}\n`);
    const reasons = report.interrupted ? ['interrupted'] : [];
    if (report.void.length > 0) reasons.push(`the run is void: ${report.void.join('; ')}`);
    if (reasons.length === 0) return report;
    // The report is written all the same; only then does the command fail.
    const json = `${JSON.stringify(report, null, 2)}\n`;
    if (typeof flags.json === 'string') await writeFile(flags.json, json);
    else process.stdout.write(json);
    throw new Error(reasons.join('; '));
  },
};

if (import.meta.main) await runCommand(loadTestCommand);
