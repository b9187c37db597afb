// What a replay asks of its folder and of its table before it starts: minutes of work must not end in a missing file.
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { FeedrankError } from '../../src/errors.ts';
import { type FlagValues, textFlag, UsageError } from '../import/command.ts';
import type { ImpressionSet } from './replay-as-of.ts';
import { isTrainable } from './replay-trainer.ts';

/** The folder of `--path`. @throws UsageError where it is missing, or lacks a file or has an empty one. */
export function folderFlag(flags: FlagValues, files: readonly string[]): string {
  const dir = textFlag(flags, 'path');
  if (dir === undefined) throw new UsageError('--path is required');
  if (!existsSync(dir)) throw new UsageError(`--path ${dir}: no such folder`);
  for (const file of files) {
    const path = join(dir, file);
    if (!existsSync(path)) throw new UsageError(`--path ${dir}: holds no ${file}`);
    if (statSync(path).size === 0) throw new UsageError(`--path ${dir}: ${file} is empty`);
  }
  return dir;
}

/** @throws FeedrankError(invalid_input) naming a label of which some part of the period has one class only. */
export function requireBothClasses(set: ImpressionSet): void {
  for (const label of set.labels) {
    if (!isTrainable(label, set)) {
      const parts = 'training, validation and test rows need both classes';
      throw new FeedrankError('invalid_input', `${label.name}: ${parts}, one part has a single one`);
    }
  }
}
