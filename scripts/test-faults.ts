// `npm run test:faults`: the fault suite on this machine's loopback, each scenario bounded in time, to a report.
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../src/errors.ts';
import { REPOSITORY } from './faults/fault-world.ts';
import { mergeResults, reliabilityPage } from './faults/reliability-page.ts';
import { runScenario } from './faults/run-scenario.ts';
import { passed, type ScenarioResult } from './faults/scenario.ts';
import { SCENARIOS } from './faults/scenarios.ts';
import {
  type Command,
  type FlagValues,
  integerFlag,
  runCommand,
  textFlag,
  UsageError,
} from './import/command.ts';

const HELP = `
usage: npm run test:faults -- [flags]

Kills, stops, slows, fills and cuts off what the service depends on, under load, with real processes on loopback, and
measures what its users would see. Needs Linux; scenarios that need root or a package that cannot be had are skipped
with the reason. Some 50 minutes in all, of which the soak takes 20.

  --list           what there is
  --only LIST      these scenarios: 1,3,5-7
  --minutes N      length of the soak (default 20, at most 120)
  --quick          small worlds, short faults, a low fixed rate: all in some 10 minutes; no figures for the report
  --json FILE      results; those of scenarios that were not run now are kept as they are in the file
                   (default docs/reliability.json, none with --quick)
  --markdown FILE  the report, from the results (default docs/RELIABILITY.md, none with --quick)
  --help

Ends with 1 when a scenario failed.
`;

const testFaultsCommand: Command = {
  help: HELP,
  flags: {
    list: { type: 'boolean' },
    only: { type: 'string' },
    minutes: { type: 'string' },
    quick: { type: 'boolean' },
    markdown: { type: 'string' },
  },
  async run(flags) {
    if (flags.list) return SCENARIOS.map(({ id, title }) => ({ id, title }));
    const quick = flags.quick === true;
    const soakMinutes = integerFlag(flags, 'minutes', quick ? 1 : 20, 1, 120);
    const chosen = chosenIds(textFlag(flags, 'only'));
    const files = filesOf(flags, quick);
    let results = await keptResults(files.json);
    for (const scenario of SCENARIOS.filter(({ id }) => chosen.has(id))) {
      const result = await runScenario(scenario, {
        quick,
        soakMinutes,
        cacheDir: join(REPOSITORY, '.cache'),
        note: (text) => process.stderr.write(`    ${text}\n`),
      });
      results = mergeResults(results, [result]);
      // Written after each: a suite that is interrupted keeps what it measured.
      if (files.json) await writeFile(files.json, `${JSON.stringify(results, null, 2)}\n`);
      if (files.markdown) await writeFile(files.markdown, reliabilityPage(results, SCENARIOS));
    }
    const failed = results.filter(({ id }) => chosen.has(id)).filter((one) => !one.skipped && !passed(one));
    if (failed.length > 0) throw new Error(`failed: ${failed.map(({ id }) => id).join(', ')}`);
    // What is written to --json replaces the file: it has to have everything.
    return files.json === flags.json ? results : results.filter(({ id }) => chosen.has(id));
  },
};

function filesOf(flags: FlagValues, quick: boolean): { json?: string; markdown?: string } {
  const docs = (name: string) => (quick ? undefined : join(REPOSITORY, 'docs', name));
  return {
    json: textFlag(flags, 'json') ?? docs('reliability.json'),
    markdown: textFlag(flags, 'markdown') ?? docs('RELIABILITY.md'),
  };
}

async function keptResults(file: string | undefined): Promise<ScenarioResult[]> {
  if (file === undefined || !existsSync(file)) return [];
  try {
    return JSON.parse(await readFile(file, 'utf8')) as ScenarioResult[];
  } catch (error) {
    throw new UsageError(`--json: ${file} holds no earlier results: ${messageOf(error)}`);
  }
}

function chosenIds(text: string | undefined): Set<number> {
  const known = SCENARIOS.map(({ id }) => id);
  if (text === undefined) return new Set(known);
  const ids = text.split(',').flatMap((part) => {
    const [first, last = first, ...rest] = part.split('-').map(Number);
    if (rest.length > 0 || !known.includes(first) || !known.includes(last) || last < first) {
      throw new UsageError(
        `--only must name scenarios of 1 to ${known.at(-1)}, such as 1,3,5-7, not "${text}"`,
      );
    }
    return known.filter((id) => id >= first && id <= last);
  });
  return new Set(ids);
}

if (import.meta.main) {
  // Leaving by exit lets every process that was started be ended too.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
  await runCommand(testFaultsCommand);
}
