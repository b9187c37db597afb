// Stages of index versions over restarts, in DATA_DIR/index beside the versions themselves: `serving`, stages, history,
// and `in-use`, which builds must not remove. `current` stays what a build publishes: a wish. Called by index-rollout.ts.
import { join } from 'node:path';
import { IN_USE_FILE } from './candidates/index/artifact.ts';
import { writeAtomically } from './ranking/lifecycle/atomic-write.ts';
import { StagedRegistry } from './staged-registry.ts';

export const INDEX = 'index';

export function indexRegistry(indexDir: string): StagedRegistry {
  return new StagedRegistry({
    dir: indexDir,
    kind: INDEX,
    servingFile: 'serving',
    onNeeded: (versions) => writeAtomically(join(indexDir, IN_USE_FILE), `${versions.join('\n')}\n`),
  });
}
