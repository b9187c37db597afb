import { cp, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runModels } from '../../../scripts/models.ts';
import { promotedVersion } from '../../../src/ranking/model-registry.ts';

const COMMITTED = join(import.meta.dirname, '../../../models');

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'feedrank-registry-'));
});

afterEach(() => rm(dir, { recursive: true }));

/** The committed user tower (or ranker) as a version of its own, with what `change` does to the manifest. */
async function addVersion(
  version: string,
  change: (manifest: Record<string, unknown>) => void = () => {},
  name = 'user-tower',
): Promise<string> {
  const folder = join(dir, name, version);
  await mkdir(join(dir, name), { recursive: true });
  await cp(join(COMMITTED, name, await promotedVersion(COMMITTED, name)), folder, { recursive: true });
  const path = join(folder, 'manifest.json');
  const manifest = JSON.parse(await readFile(path, 'utf8'));
  manifest.version = version;
  change(manifest);
  await writeFile(path, JSON.stringify(manifest));
  return folder;
}

async function models(...argv: string[]) {
  let out = '';
  let error = '';
  const code = await runModels([...argv, '--models-dir', dir, '--json', join(dir, 'figures.json')], {
    out: (text) => {
      out += text;
    },
    error: (text) => {
      error += text;
    },
  });
  const figures = await readFile(join(dir, 'figures.json'), 'utf8').then(JSON.parse, () => null);
  return { code, out, error, figures };
}

/** Changes one byte in the middle of a file. */
async function flipByte(path: string): Promise<void> {
  const bytes = await readFile(path);
  bytes[bytes.length >> 1] ^= 1;
  await writeFile(path, bytes);
}

describe('list and show', () => {
  test('name every version and which one serves', async () => {
    for (const version of ['1', '2', '10']) await addVersion(version);
    await writeFile(join(dir, 'user-tower', 'current'), '2\n');
    const { code, out, figures } = await models('list');
    expect(code).toBe(0);
    expect(figures.models.map((model: { version: string }) => model.version)).toEqual(['1', '2', '10']);
    expect(figures.models.filter((model: { promoted: boolean }) => model.promoted)).toMatchObject([
      { version: '2', kind: 'user-tower' },
    ]);
    expect(out.split('\n').filter((line) => line.includes('promoted'))).toHaveLength(1);
  });

  test('a corrupt version is listed with its reason', async () => {
    await truncate(join(await addVersion('1'), 'model.onnx'), 100);
    const { code, figures } = await models('list');
    expect(code).toBe(0);
    expect(figures.models[0].problem).toMatch(/model\.onnx: has 100 bytes/);
  });

  test('show takes the promoted version where none is named', async () => {
    await addVersion('1');
    await addVersion('2', (manifest) => {
      manifest.metrics = { nextRecall10Of1000: { tower: 0.75 } };
    });
    const { out, figures } = await models('show', 'user-tower');
    expect(figures).toMatchObject({ version: '2', promoted: true });
    expect(out).toMatch(/nextRecall10Of1000\.tower +0\.7500/);
  });
});

test('compare puts metrics side by side with their difference', async () => {
  await addVersion('1', (manifest) => {
    manifest.metrics = { recall: { tower: 0.25 }, onlyA: 1 };
    manifest.features = ['a@1', 'b@1'];
  });
  await addVersion('2', (manifest) => {
    manifest.metrics = { recall: { tower: 0.375 }, curve: [1, 2, 3] };
    manifest.features = ['a@1', 'b@2'];
  });
  const { code, out, figures } = await models('compare', 'user-tower', '1', '2');
  expect(code).toBe(0);
  const byName = Object.fromEntries(figures.figures.map((row: { figure: string }) => [row.figure, row]));
  expect(byName['recall.tower']).toMatchObject({ a: 0.25, b: 0.375, difference: 0.125 });
  expect(byName.onlyA).toMatchObject({ a: 1, b: null, difference: null });
  expect(byName.curve).toBeUndefined();
  expect(figures.features).toEqual({ added: ['b@2'], removed: ['b@1'] });
  expect(out).toMatch(/recall\.tower +0\.2500 +0\.3750 +\+0\.1250/);
});

describe('verify', () => {
  test('passes what the trainer wrote: towers and rankers', async () => {
    await addVersion('1');
    await addVersion('1', () => {}, 'ranker');
    const { code, figures } = await models('verify');
    expect(code).toBe(0);
    expect(figures.verified).toMatchObject([
      { name: 'ranker', version: '1', ok: true },
      { name: 'user-tower', version: '1', ok: true },
    ]);
  });

  test.each(['model.onnx', 'golden.json'])('fails on one changed byte of %s', async (file) => {
    await addVersion('1');
    await flipByte(join(await addVersion('2'), file));
    const { code, error } = await models('verify');
    expect(code).toBe(1);
    expect(error).toMatch(new RegExp(`^1 of 2 failed: user-tower@2: .*${file}: sha256 differs.*\n$`));
    expect((await models('verify', 'user-tower@1')).code).toBe(0);
  });

  test('fails on a changed byte of a file beside the model', async () => {
    const folder = await addVersion('1', (manifest) => {
      const files = manifest.files as Record<string, object>;
      files['model.int8.onnx'] = files['model.onnx'];
    });
    await cp(join(folder, 'model.onnx'), join(folder, 'model.int8.onnx'));
    expect((await models('verify', 'user-tower')).code).toBe(0);
    await flipByte(join(folder, 'model.int8.onnx'));
    expect((await models('verify', 'user-tower')).error).toContain('model.int8.onnx: sha256 differs');
  });

  test('fails on a feature that the code does not have', async () => {
    await addVersion(
      '1',
      (manifest) => {
        (manifest.features as string[])[0] = 'user_shoe_size@1';
      },
      'ranker',
    );
    const { code, error } = await models('verify', 'ranker@1');
    expect(code).toBe(1);
    expect(error).toContain('user_shoe_size@1');
  });

  test('fails where the model no longer gives its golden outputs', async () => {
    const folder = await addVersion('1');
    const path = join(folder, 'golden.json');
    const golden = JSON.parse(await readFile(path, 'utf8'));
    golden.outputs.vector.data[0] += 0.5;
    await writeFile(path, JSON.stringify(golden));
    await resign(folder, 'golden.json');
    const { code, error } = await models('verify');
    expect(code).toBe(1);
    expect(error).toContain('golden output vector[0]');
  });

  test('fails on the manifest of another version', async () => {
    await addVersion('2', (manifest) => {
      manifest.version = '1';
    });
    expect((await models('verify')).error).toContain('its manifest is that of user-tower@1');
  });
});

/** Brings the manifest in line with a changed file, as a wrong trainer would. */
async function resign(folder: string, file: string): Promise<void> {
  const { createHash } = await import('node:crypto');
  const bytes = await readFile(join(folder, file));
  const path = join(folder, 'manifest.json');
  const manifest = JSON.parse(await readFile(path, 'utf8'));
  manifest.files[file] = { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
  await writeFile(path, JSON.stringify(manifest));
}

describe('promote', () => {
  test('makes the version the one that serves, back and forth', async () => {
    for (const version of ['1', '2']) await addVersion(version);
    expect((await models('promote', 'user-tower@1')).figures).toMatchObject({ version: '1', from: '2' });
    expect(await promotedVersion(dir, 'user-tower')).toBe('1');
    expect((await models('promote', 'user-tower@2')).figures).toMatchObject({ version: '2', from: '1' });
    expect(await promotedVersion(dir, 'user-tower')).toBe('2');
  });

  test('refuses a corrupt version and leaves what serves', async () => {
    await addVersion('1');
    await flipByte(join(await addVersion('2'), 'model.onnx'));
    await models('promote', 'user-tower@1');
    const { code, error } = await models('promote', 'user-tower@2');
    expect(code).toBe(1);
    expect(error).toContain('sha256 differs');
    expect(await promotedVersion(dir, 'user-tower')).toBe('1');
  });

  test('a reader at any moment finds one of the two versions, whole', async () => {
    for (const version of ['1', '2']) await addVersion(version);
    await models('promote', 'user-tower@1');
    const seen = new Set<string>();
    let done = false;
    const reading = (async () => {
      while (!done) seen.add(await readFile(join(dir, 'user-tower', 'current'), 'utf8'));
    })();
    for (const version of ['2', '1', '2', '1', '2']) await models('promote', `user-tower@${version}`);
    done = true;
    await reading;
    expect([...seen].sort()).toEqual(['1\n', '2\n']);
    expect((await readdir(join(dir, 'user-tower'))).sort()).toEqual(['1', '2', 'current']);
  });

  test('refuses what did worse than what serves on the same held-out events, unless forced', async () => {
    const compared = (against: string, worse: boolean) => (manifest: Record<string, unknown>) => {
      manifest.comparison = { against, worse };
    };
    for (const version of ['1', '4']) await addVersion(version);
    await addVersion('2', compared('post-tower@1 and user-tower@1', true));
    await addVersion('3', compared('post-tower@1 and user-tower@1', false));
    await models('promote', 'user-tower@1');
    const refused = await models('promote', 'user-tower@2');
    expect(refused.code).toBe(1);
    expect(refused.error).toContain('user-tower@2 did worse than user-tower@1');
    expect(await promotedVersion(dir, 'user-tower')).toBe('1');
    const forced = await models('promote', 'user-tower@2', '--force');
    expect(forced.out).toContain('was forced');
    expect(await promotedVersion(dir, 'user-tower')).toBe('2');
    await models('promote', 'user-tower@1');
    expect((await models('promote', 'user-tower@3')).figures).toMatchObject({ version: '3', from: '1' });
    // Back to what it replaced: an emergency needs no flag.
    expect((await models('promote', 'user-tower@1')).out).toContain('is what user-tower@3 was promoted over');
    expect((await models('promote', 'user-tower@4')).out).toContain('was not compared with user-tower@1');
    expect((await models('list', '--force')).error).toContain('--force belongs to promote');
  });

  test('says when the post tower that serves is not the one it was trained on', async () => {
    await addVersion('1', (manifest) => {
      manifest.tower = 'post-tower@7';
    });
    const { code, out } = await models('promote', 'user-tower@1');
    expect(code).toBe(0);
    expect(out).toContain('was trained on post-tower@7, promoted is none');
  });
});

describe('adopt', () => {
  test('takes a ranker of another name in as the next version, which serves once it is promoted', async () => {
    await addVersion('2', () => {}, 'ranker');
    await addVersion('1', () => {}, 'ranker-dcn');
    const { code, out, figures } = await models('adopt', 'ranker-dcn@1');
    expect([code, out]).toEqual([0, expect.stringContaining('ranker-dcn@1 is ranker@3')]);
    expect(figures.as).toEqual({ name: 'ranker', version: '3' });
    expect(await promotedVersion(dir, 'ranker')).toBe('2');
    expect((await models('verify', 'ranker@3')).code).toBe(0);
    expect((await models('promote', 'ranker@3', '--force')).code).toBe(0);
    expect(await promotedVersion(dir, 'ranker')).toBe('3');
    expect(await readdir(join(dir, 'ranker-dcn'))).toContain('1');
  });

  test.each([
    ['a version of the ranker itself', 'ranker@2', 'is a version of ranker already'],
    ['what is no ranker', 'user-tower@1', 'not a ranker'],
  ])('refuses %s', async (_, target, reason) => {
    await addVersion('2', () => {}, 'ranker');
    await addVersion('1');
    const { code, error } = await models('adopt', target);
    expect([code, error]).toEqual([1, expect.stringContaining(reason)]);
    expect((await readdir(dir)).sort()).toEqual(['ranker', 'user-tower']);
  });
});

describe('gc', () => {
  test('keeps the newest and the promoted version', async () => {
    for (const version of ['1', '2', '3', '4']) await addVersion(version);
    await models('promote', 'user-tower@1');
    const dry = await models('gc', 'user-tower', '--keep', '1', '--dry-run');
    expect(dry.figures).toMatchObject({ removed: ['2', '3'], kept: ['1', '4'], dryRun: true });
    expect((await readdir(join(dir, 'user-tower'))).sort()).toEqual(['1', '2', '3', '4', 'current']);
    expect((await models('gc', 'user-tower', '--keep', '1')).figures).toMatchObject({ removed: ['2', '3'] });
    expect((await readdir(join(dir, 'user-tower'))).sort()).toEqual(['1', '4', 'current']);
    // The way back from what was promoted last stays too.
    await models('gc', 'user-tower', '--keep', '0');
    expect((await readdir(join(dir, 'user-tower'))).sort()).toEqual(['1', '4', 'current']);
    expect((await models('verify')).code).toBe(0);
  });

  test('keeps the version that serves by being the highest', async () => {
    for (const version of ['9', '10']) await addVersion(version);
    expect((await models('gc', 'user-tower', '--keep', '0')).figures).toMatchObject({ kept: ['10'] });
  });

  test('removes nothing where `current` names no version', async () => {
    for (const version of ['1', '2']) await addVersion(version);
    await writeFile(join(dir, 'user-tower', 'current'), '7\n');
    const { code, error } = await models('gc', 'user-tower', '--keep', '0');
    expect(code).toBe(1);
    expect(error).toContain('current names "7"');
    expect((await readdir(join(dir, 'user-tower'))).sort()).toEqual(['1', '2', 'current']);
  });
});

describe('stages', () => {
  test('shadow, canary, promote and rollback move a ranker, and history says what happened', async () => {
    await addVersion('1', () => {}, 'ranker');
    await addVersion('2', () => {}, 'ranker');
    expect((await models('shadow', 'ranker@2')).out).toContain('is in shadow, beside ranker@1');
    expect(await promotedVersion(dir, 'ranker'), 'the newcomer does not serve by being the highest').toBe(
      '1',
    );
    expect((await models('canary', 'ranker@2', '--share', '.1')).code).toBe(0);
    expect((await models('status')).out).toMatch(/ranker +1 +2 in canary 0\.1/);
    expect((await models('promote', 'ranker@2')).code).toBe(0);
    expect((await models('status')).figures.ranker).toMatchObject({
      promoted: '2',
      trial: null,
      previous: '1',
    });
    expect((await models('rollback', 'ranker', '--reason', 'readers complain')).out).toContain(
      'ranker@1 serves',
    );
    const { figures } = await models('history', '--data-dir', join(dir, 'data'));
    expect(figures.history.map(({ action }: { action: string }) => action)).toEqual([
      'rolled_back',
      'promoted',
      'canary',
      'shadow',
    ]);
    expect(figures.history[0]).toMatchObject({ version: '2', reason: 'readers complain', by: 'operator' });
  });

  test('rollback index publishes the version before again, once', async () => {
    const [older, newer] = ['v20260101T000000000Z-aaaaaa', 'v20260102T000000000Z-bbbbbb'];
    const index = join(dir, 'data', 'index');
    for (const version of [older, newer]) await mkdir(join(index, version), { recursive: true });
    await writeFile(join(index, 'current'), `${newer}\n`);
    const back = () =>
      models('rollback', 'index', '--data-dir', join(dir, 'data'), '--reason', 'posts are missing');
    expect((await back()).figures).toEqual({ from: newer, to: older });
    expect((await readFile(join(index, 'current'), 'utf8')).trim()).toBe(older);
    expect((await back()).error).toContain('none before it is kept');
    const { figures } = await models('history', '--data-dir', join(dir, 'data'));
    expect(figures.history).toMatchObject([{ kind: 'index', version: newer, reason: 'posts are missing' }]);
  });

  test('gc keeps what is on trial', async () => {
    for (const version of ['1', '2', '3']) await addVersion(version, () => {}, 'ranker');
    await models('promote', 'ranker@3');
    await models('shadow', 'ranker@1');
    expect((await models('gc', 'ranker', '--keep', '0')).figures.kept).toContain('1');
  });

  test('a corrupt version is not staged', async () => {
    await addVersion('1', () => {}, 'ranker');
    await flipByte(join(await addVersion('2', () => {}, 'ranker'), 'model.onnx'));
    expect((await models('shadow', 'ranker@2')).error).toContain('sha256 differs');
    expect((await models('status')).figures.ranker.trial ?? null).toBeNull();
  });
});

test.each([
  [2, '--share S is required', ['canary', 'ranker@1']],
  [2, '--share must be above 0 to .5', ['canary', 'ranker@1', '--share', '.7']],
  [2, '--share belongs to canary', ['shadow', 'ranker@1', '--share', '.1']],
  [2, 'only ranker goes through shadow', ['shadow', 'user-tower@1']],
  [1, 'user-tower@1 serves and no version before it is known', ['rollback', 'user-tower']],
  [2, 'a command is required', []],
  [2, "unknown command 'prune'", ['prune']],
  [2, 'usage: models compare NAME A B', ['compare', 'user-tower', '1']],
  [2, 'usage: models promote NAME@V', ['promote', 'user-tower']],
  [2, '--keep N is required', ['gc', 'user-tower']],
  [2, '--keep must be an integer', ['gc', 'user-tower', '--keep', '1.5']],
  [2, '--keep belongs to gc', ['list', '--keep', '1']],
  [2, 'Unknown option', ['list', '--frob']],
  [1, 'no model ../user-tower', ['show', '../user-tower']],
  [1, 'no version 3 of user-tower, there is 1', ['show', 'user-tower@3']],
  [1, 'no version ../1', ['promote', 'user-tower@../1']],
])('bad input ends with code %i and one line: %s', async (expected, reason, argv) => {
  await addVersion('1');
  const { code, error } = await models(...argv);
  expect(code).toBe(expected);
  expect(error).toContain(reason);
  expect(error.trim().split('\n')).toHaveLength(1);
});
