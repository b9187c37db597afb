// The models folder as `npm run models` sees it: which models and versions there are, what a version's files say, and
// whether it could serve. Nothing here changes a file.
import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { FeedrankError, messageOf } from '../../src/errors.ts';
import { loadModelArtifact, type ModelManifest } from '../../src/features/model-artifact.ts';
import { PostTower } from '../../src/features/post-tower.ts';
import { UserTower } from '../../src/features/user-tower.ts';
import { promotedVersion, versionsOf } from '../../src/ranking/model-registry.ts';
import { checkRanker } from '../../src/ranking/onnx-model-check.ts';

const NAME = /^[a-z0-9][a-z0-9_-]{0,63}$/i;

export interface ModelRef {
  name: string;
  version: string;
}

/** Names of the folders that hold at least one version, sorted. */
export async function modelNames(modelsDir: string): Promise<string[]> {
  let entries: string[];
  try {
    entries = await readdir(modelsDir);
  } catch (error) {
    throw new FeedrankError('not_found', `models folder ${modelsDir}: ${messageOf(error)}`);
  }
  const named = entries.filter((name) => NAME.test(name)).sort();
  const versions = await Promise.all(named.map((name) => versionsOf(modelsDir, name)));
  return named.filter((_, i) => versions[i].length > 0);
}

/** `ranker`, `ranker@3` → name and version, the promoted one where none is given. Throws FeedrankError(not_found). */
export async function resolveModel(modelsDir: string, text: string): Promise<ModelRef> {
  const at = text.indexOf('@');
  const name = at < 0 ? text : text.slice(0, at);
  await requireModel(modelsDir, name);
  const version = at < 0 ? await promotedVersion(modelsDir, name) : text.slice(at + 1);
  await requireVersion(modelsDir, name, version);
  return { name, version };
}

export async function requireModel(modelsDir: string, name: string): Promise<void> {
  const names = await modelNames(modelsDir);
  if (names.includes(name)) return;
  throw new FeedrankError(
    'not_found',
    `no model ${name} in ${modelsDir}, there is ${names.join(', ') || 'none'}`,
  );
}

export async function requireVersion(modelsDir: string, name: string, version: string): Promise<void> {
  const versions = await versionsOf(modelsDir, name);
  if (versions.includes(version)) return;
  throw new FeedrankError('not_found', `no version ${version} of ${name}, there is ${versions.join(', ')}`);
}

/** Size of a version's files. */
export async function versionBytes(modelsDir: string, { name, version }: ModelRef): Promise<number> {
  const dir = join(modelsDir, name, version);
  const entries = await readdir(dir, { withFileTypes: true });
  const sizes = await Promise.all(
    entries.filter((entry) => entry.isFile()).map(async (entry) => (await stat(join(dir, entry.name))).size),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Manifest of a version whose listed files are whole. Throws FeedrankError(corrupt_artifact) naming file and reason. */
export async function readManifest(modelsDir: string, { name, version }: ModelRef): Promise<ModelManifest> {
  const { manifest } = await loadModelArtifact(join(modelsDir, name, version));
  return manifest;
}

/**
 * Everything the service checks before it serves a version, and what it takes on trust: manifest, sha256 of every
 * listed file, name and version of the folder, features and heads known, golden outputs reproduced.
 * @throws FeedrankError(corrupt_artifact, …) naming the first that fails.
 */
export async function verifyModel(modelsDir: string, ref: ModelRef): Promise<ModelManifest> {
  const dir = join(modelsDir, ref.name, ref.version);
  const artifact = await loadModelArtifact(dir);
  const { manifest } = artifact;
  if (manifest.name !== ref.name || manifest.version !== ref.version) {
    throw corrupt(dir, `its manifest is that of ${manifest.name}@${manifest.version}`);
  }
  if (Object.keys(artifact.golden.outputs).length === 0) {
    throw corrupt(join(dir, 'golden.json'), 'names no outputs, so that nothing could be probed');
  }
  for (const [file, expected] of Object.entries(manifest.files)) {
    if (file.includes('/') || file.includes('..'))
      throw corrupt(dir, `manifest lists ${file}, no file of its own`);
    const bytes = await readFile(join(dir, file)).catch((error) => {
      throw corrupt(join(dir, file), messageOf(error));
    });
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    if (sha256 !== expected.sha256) throw corrupt(join(dir, file), 'sha256 differs from the manifest');
  }
  if (manifest.kind === 'ranker') {
    await checkRanker({ modelsDir, ...ref });
    return manifest;
  }
  const model = await (manifest.kind === 'post-tower' ? PostTower : UserTower).load(dir);
  await model.release();
  return manifest;
}

function corrupt(path: string, reason: string): FeedrankError {
  return new FeedrankError('corrupt_artifact', `model artifact ${path}: ${reason}`);
}
