import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSession, loadModelArtifact, probeGolden } from '../../../src/features/model-artifact.ts';
import { PostTower, type PostTowerInput } from '../../../src/features/post-tower.ts';
import { dot, largestDifference, POST_TOWER, row } from './towers.ts';

describe('post tower', () => {
  let tower: PostTower;
  beforeAll(async () => {
    tower = await PostTower.load(POST_TOWER);
  });
  afterAll(() => tower.release());

  const odd: PostTowerInput[] = [
    {},
    { text: '' },
    { text: '\ud800\udfff\ud800' },
    { text: '\u0000\u0007' },
    { text: 'x'.repeat(1_000_000) },
    { text: 'word '.repeat(200_000) },
    { id: 'p1' },
    { authorId: 'a1' },
    { topic: 'gardening' },
    { id: 'p1', authorId: 'a1', topic: 'gardening', text: 'When to plant tomatoes' },
    { text: '東京の天気' },
    { text: '🎉🎉' },
  ];

  it('names its version and dimension', () => {
    expect(tower.version).toBe('post-tower@1');
    expect(tower.dim).toBe(64);
  });

  it('gives a finite unit vector for every combination of absent, broken and huge fields', async () => {
    const vectors = await tower.embed(odd);
    expect(vectors).toHaveLength(odd.length * 64);
    for (let i = 0; i < odd.length; i++)
      expect(Math.sqrt(dot(row(vectors, i), row(vectors, i)))).toBeCloseTo(1, 5);
  });

  it('gives the same cold vector for every post without a known field', async () => {
    const vectors = await tower.embed([{}, { text: '' }, { text: '?!' }, { topic: '' }]);
    for (let i = 1; i < 4; i++) expect(row(vectors, i)).toEqual(row(vectors, 0));
  });

  it('gives a post the same vector alone and in any batch', async () => {
    const posts = Array.from({ length: 150 }, (_, i) => ({
      text: `post number ${i} ${'about cooking pasta '.repeat(i % 9)}`,
      topic: i % 3 === 0 ? 'cooking' : undefined,
    }));
    const together = await tower.embed(posts);
    for (const i of [0, 7, 31, 32, 99, 149]) {
      const alone = await tower.embed([posts[i]]);
      expect(largestDifference(alone, row(together, i))).toBeLessThan(1e-5);
    }
  });

  it('gives nothing for no posts', async () => {
    expect(await tower.embed([])).toHaveLength(0);
  });

  it('puts posts on one subject nearer than posts on different subjects', async () => {
    const vectors = await tower.embed([
      { text: 'What acoustic guitar should a beginner buy?' },
      { text: 'Learning chords and strumming on my first electric guitar' },
      { text: 'Best way to bake sourdough bread at home' },
      { topic: 'music' },
    ]);
    const [guitar, chords, bread, music] = [0, 1, 2, 3].map((i) => row(vectors, i));
    expect(dot(guitar, chords)).toBeGreaterThan(dot(guitar, bread) + 0.2);
    expect(dot(guitar, music)).toBeGreaterThan(dot(bread, music));
  });
});

describe('model artifact', () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'artifact-'));
  });
  afterAll(() => rm(dir, { recursive: true }));

  const copy = async (name: string) => {
    const target = join(dir, name);
    await cp(POST_TOWER, target, { recursive: true });
    return target;
  };

  it('reproduces the golden outputs, and refuses a session that does not', async () => {
    const artifact = await loadModelArtifact(POST_TOWER);
    const session = await createSession(artifact);
    await expect(probeGolden(session, artifact.golden)).resolves.toBeUndefined();
    const other = structuredClone(artifact.golden);
    other.outputs.vector.data[3] += 0.01;
    await expect(probeGolden(session, other)).rejects.toThrow(/golden output vector\[3\]/);
    await session.release();
  });

  it('refuses a model with one flipped byte, naming the file', async () => {
    const target = await copy('flipped');
    const bytes = await readFile(join(target, 'model.onnx'));
    bytes[bytes.length >> 1] ^= 1;
    await writeFile(join(target, 'model.onnx'), bytes);
    await expect(PostTower.load(target)).rejects.toThrow(/model\.onnx: sha256 differs/);
  });

  it('refuses a truncated model', async () => {
    const target = await copy('truncated');
    const bytes = await readFile(join(target, 'model.onnx'));
    await writeFile(join(target, 'model.onnx'), bytes.subarray(0, 1000));
    await expect(loadModelArtifact(target)).rejects.toThrow(/has 1000 bytes/);
  });

  it('refuses a missing folder, a manifest that is not JSON, and one without a kind', async () => {
    await expect(loadModelArtifact(join(dir, 'nowhere'))).rejects.toThrow(/manifest\.json: ENOENT/);
    const target = await copy('manifest');
    await writeFile(join(target, 'manifest.json'), '{');
    await expect(loadModelArtifact(target)).rejects.toThrow(/manifest\.json: not JSON/);
    await writeFile(join(target, 'manifest.json'), '{"name":"x","version":"1"}');
    await expect(loadModelArtifact(target)).rejects.toThrow(/kind/);
  });

  it('refuses a tower of another kind', async () => {
    const target = await copy('kind');
    const manifest = JSON.parse(await readFile(join(target, 'manifest.json'), 'utf8'));
    await writeFile(join(target, 'manifest.json'), JSON.stringify({ ...manifest, kind: 'ranker' }));
    await expect(PostTower.load(target)).rejects.toThrow(/not a post tower/);
  });
});
