// What the registry holds, as tables: every version, one version, two side by side. Called by models.ts.
import { join } from 'node:path';
import { messageOf } from '../../src/errors.ts';
import { promotedVersion, versionsOf } from '../../src/ranking/model-registry.ts';
import {
  modelNames,
  readManifest,
  requireModel,
  requireVersion,
  resolveModel,
  versionBytes,
} from './model-folder.ts';
import { compareFeatures, compareFigures, flatNumbers, keyMetrics } from './model-metrics.ts';
import { type Answer, figure, signed, sizeText, textTable } from './tables.ts';

export async function listModels(modelsDir: string): Promise<Answer> {
  const models: Record<string, unknown>[] = [];
  const rows: string[][] = [];
  for (const name of await modelNames(modelsDir)) {
    const promoted = await promotedVersion(modelsDir, name).catch(messageOf);
    for (const version of await versionsOf(modelsDir, name)) {
      const bytes = await versionBytes(modelsDir, { name, version });
      const serves = promoted === version;
      const cells = [name, version, sizeText(bytes), serves ? 'promoted' : ''];
      try {
        const manifest = await readManifest(modelsDir, { name, version });
        const metrics = keyMetrics(manifest);
        const { kind, createdAt } = manifest;
        models.push({ name, version, kind, createdAt, bytes, promoted: serves, metrics });
        const shown = Object.entries(metrics).map(([label, value]) => `${label} ${figure(value)}`);
        rows.push([...cells, kind, createdAt.slice(0, 16).replace('T', ' '), shown.join(', ')]);
      } catch (error) {
        models.push({ name, version, bytes, promoted: serves, problem: messageOf(error) });
        rows.push([...cells, '', '', messageOf(error)]);
      }
    }
    if (!/^\d+$/.test(promoted)) rows.push([name, '–', '–', 'none', '', '', promoted]);
  }
  if (rows.length === 0) return { text: `no models in ${modelsDir}`, figures: { modelsDir, models } };
  const header = ['model', 'version', 'size', 'serves', 'kind', 'created', 'metrics'];
  return { text: textTable(header, rows), figures: { modelsDir, models } };
}

export async function showModel(target: string, modelsDir: string): Promise<Answer> {
  const ref = await resolveModel(modelsDir, target);
  const manifest = await readManifest(modelsDir, ref);
  const promoted = (await promotedVersion(modelsDir, ref.name)) === ref.version;
  const bytes = await versionBytes(modelsDir, ref);
  const { features, heads, userTower } = manifest as Record<string, unknown>;
  const facts: [string, string][] = [
    ['model', `${ref.name}@${ref.version}`],
    ['kind', manifest.kind],
    ['created', manifest.createdAt],
    ['size', sizeText(bytes)],
    ['promoted', promoted ? 'yes' : 'no'],
    ['folder', join(modelsDir, ref.name, ref.version)],
    ['inputs', manifest.inputs.join(', ')],
    ['outputs', manifest.outputs.join(', ')],
  ];
  if (manifest.tower) facts.push(['tower', manifest.tower]);
  if (typeof userTower === 'string') facts.push(['user tower', userTower]);
  if (Array.isArray(heads)) facts.push(['heads', heads.join(', ')]);
  if (Array.isArray(features)) facts.push(['features', features.join(', ')]);
  for (const [path, value] of flatNumbers(manifest.metrics)) facts.push([path, figure(value)]);
  for (const [path, value] of flatNumbers(manifest.data, 'data')) facts.push([path, String(value)]);
  for (const [file, { sha256 }] of Object.entries(manifest.files)) facts.push([file, `sha256 ${sha256}`]);
  const width = Math.max(...facts.map(([label]) => label.length));
  return {
    text: facts.map(([label, value]) => `${label.padEnd(width)}  ${value}`).join('\n'),
    figures: { ...ref, promoted, bytes, manifest },
  };
}

export async function compareModels([name, a, b]: string[], modelsDir: string): Promise<Answer> {
  await requireModel(modelsDir, name);
  for (const version of [a, b]) await requireVersion(modelsDir, name, version);
  const before = await readManifest(modelsDir, { name, version: a });
  const after = await readManifest(modelsDir, { name, version: b });
  const compared = [...compareFigures(before, after), ...(await compareSizes(modelsDir, name, a, b))];
  const features = compareFeatures(before, after);
  const rows = compared.map((row) => [row.figure, figure(row.a), figure(row.b), signed(row.difference)]);
  const lines = [textTable(['figure', `${name}@${a}`, `${name}@${b}`, 'difference'], rows)];
  if (features.added.length > 0) lines.push(`features only in ${b}: ${features.added.join(', ')}`);
  if (features.removed.length > 0) lines.push(`features only in ${a}: ${features.removed.join(', ')}`);
  return { text: lines.join('\n'), figures: { name, a, b, figures: compared, features } };
}

async function compareSizes(modelsDir: string, name: string, a: string, b: string) {
  const [from, to] = await Promise.all([a, b].map((version) => versionBytes(modelsDir, { name, version })));
  return [{ figure: 'bytes', a: from, b: to, difference: to - from }];
}
