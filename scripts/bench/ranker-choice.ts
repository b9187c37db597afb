// A models folder in which another model stands where the service looks for its ranker. Called by capacity.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { MAIN_RANKER } from '../../src/ranking/model-registry.ts';

export interface RankerChoice {
  modelsDir: string;
  remove(): void;
}

/**
 * `choice` is a model of the folder, `ranker-light`, or one version of it, `ranker@2`.
 * @throws Error where the folder has none of that name.
 */
export function chooseRanker(modelsDir: string, choice: string): RankerChoice {
  const [name, version] = choice.split('@');
  const from = resolve(modelsDir, name, version ?? '');
  if (!existsSync(from)) throw new Error(`--ranker: there is no ${choice} in ${modelsDir}`);
  if (choice === MAIN_RANKER) return { modelsDir, remove: () => {} };
  const folder = mkdtempSync(join(tmpdir(), 'feedrank-models-'));
  for (const model of readdirSync(modelsDir)) {
    if (model !== MAIN_RANKER) symlinkSync(resolve(modelsDir, model), join(folder, model));
  }
  if (version === undefined) {
    symlinkSync(from, join(folder, MAIN_RANKER));
  } else {
    mkdirSync(join(folder, MAIN_RANKER));
    symlinkSync(from, join(folder, MAIN_RANKER, version));
  }
  return { modelsDir: folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
