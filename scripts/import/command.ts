// A script's command line: flags checked, --help, one line of reason on failure, figures to --json. Called by scripts.
import { writeFile } from 'node:fs/promises';
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { messageOf } from '../../src/errors.ts';

export type Flags = NonNullable<ParseArgsConfig['options']>;
export type FlagValues = Record<string, string | boolean | undefined>;

/** A wrong flag or a wrong value: ends the script with its message and exit code 2. */
export class UsageError extends Error {}

export interface Command {
  help: string;
  /** Besides --help and --json. */
  flags: Flags;
  /** Returns the figures for --json. */
  run(flags: FlagValues): Promise<object>;
}

/** Where a command writes; tests pass their own. */
export interface CommandIo {
  out(text: string): void;
  error(text: string): void;
}

const processIo: CommandIo = {
  out: (text) => process.stdout.write(text),
  error: (text) => process.stderr.write(text),
};

/** Runs a command as this process: its exit code becomes the process's. */
export async function runCommand(command: Command, args = process.argv.slice(2)): Promise<void> {
  process.exitCode = await execute(command, args, processIo);
}

/** Resolves with the exit code: 0, 1 for a failure, 2 for wrong use. */
export async function execute(command: Command, args: string[], io: CommandIo): Promise<number> {
  try {
    const values = parseFlags(command.flags, args);
    if (values.help) {
      io.out(`${command.help.trim()}\n`);
      return 0;
    }
    const figures = `${JSON.stringify(await command.run(values), null, 2)}\n`;
    if (typeof values.json === 'string') await writeFile(values.json, figures);
    else io.out(figures);
    return 0;
  } catch (error) {
    const reason = messageOf(error).replace(/\s*\n\s*/g, ' ');
    const usage = error instanceof UsageError;
    io.error(`${usage ? `${reason} (see --help)` : reason}\n`);
    return usage ? 2 : 1;
  }
}

function parseFlags(flags: Flags, args: string[]): FlagValues {
  try {
    const options: Flags = { ...flags, help: { type: 'boolean', short: 'h' }, json: { type: 'string' } };
    return parseArgs({ args, options, strict: true, allowPositionals: false }).values as FlagValues;
  } catch (error) {
    throw new UsageError(messageOf(error).split(/[.\n]/)[0]);
  }
}

/** An integer flag within [min, max]; `fallback` when absent. */
export function integerFlag(
  flags: FlagValues,
  name: string,
  fallback: number,
  min: number,
  max: number,
): number {
  const text = flags[name];
  if (text === undefined) return fallback;
  const value = typeof text === 'string' && /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) {
    throw new UsageError(`--${name} must be an integer from ${min} to ${max}, not "${text}"`);
  }
  return value;
}

export function textFlag(flags: FlagValues, name: string): string | undefined {
  const text = flags[name];
  if (text === '') throw new UsageError(`--${name} must not be empty`);
  return typeof text === 'string' ? text : undefined;
}
