// Takes a ranker of another name, `ranker-dcn@1`, in as the next version of the one that serves, so that it goes through
// the same stages: shadow, canary, promotion, rollback. Called by scripts/models.ts.
import { cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FeedrankError } from '../../src/errors.ts';
import { MAIN_RANKER } from '../../src/ranking/model-registry.ts';
import { nextVersion, registerModel } from '../train/model-versions.ts';
import { type ModelRef, readManifest, verifyModel } from './model-folder.ts';

export interface Adoption {
  from: ModelRef;
  as: ModelRef;
}

/**
 * Verifies and copies; what serves goes on serving.
 * @throws what verifying throws; FeedrankError(conflict) for what is a version of that ranker already, or no ranker.
 */
export async function adoptModel(modelsDir: string, from: ModelRef): Promise<Adoption> {
  if (from.name === MAIN_RANKER) {
    throw new FeedrankError(
      'conflict',
      `${from.name}@${from.version} is a version of ${MAIN_RANKER} already`,
    );
  }
  const manifest = await verifyModel(modelsDir, from);
  if (manifest.kind !== 'ranker') {
    throw new FeedrankError('conflict', `${from.name}@${from.version} is a ${manifest.kind}, not a ranker`);
  }
  const version = await nextVersion(modelsDir, [MAIN_RANKER]);
  const staged = join(modelsDir, `.adopted-${process.pid}`);
  const folder = join(staged, MAIN_RANKER, version);
  try {
    await mkdir(folder, { recursive: true });
    await cp(join(modelsDir, from.name, from.version), folder, { recursive: true });
    const adopted = {
      ...(await readManifest(modelsDir, from)),
      name: MAIN_RANKER,
      version,
      adoptedFrom: `${from.name}@${from.version}`,
    };
    await writeFile(join(folder, 'manifest.json'), `${JSON.stringify(adopted, null, 2)}\n`);
    await registerModel(modelsDir, staged, MAIN_RANKER, version, false);
  } finally {
    await rm(staged, { recursive: true, force: true });
  }
  return { from, as: { name: MAIN_RANKER, version } };
}
