import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';

const PYTHON = process.env.FEEDRANK_PYTHON;
const REASON = PYTHON ? '' : ' (skipped: FEEDRANK_PYTHON is not set)';
const TRAIN = resolve(import.meta.dirname, '../../../scripts/train');
/** Python takes seconds to start, several times as many where other tests run beside it. */
const PATIENT = { timeout: 120_000 };

/** 300 users of three interests, 90 items of which each interest has 30; four of five pairs are of the user's own. */
const SCRIPT = `
import json
import numpy as np, scipy.sparse as sp
from retrieval_convolution import ConvolutionOptions, ConvolutionTower, adjacency, balanced, smooth
from retrieval_convolution_search import ConvolutionSearch, start_of
from retrieval_data import Clock, Validation, joined, paired_gain, recent
from retrieval_spectral import SpectralOptions, encode, fit_sides
import torch

draw = np.random.default_rng(1)
def pairs_of(count):
    rows = [(user, user % 3 * 30 + draw.integers(30) if draw.random() < .8 else draw.integers(90)) for user in range(300) for _ in range(count)]
    at = np.array(sorted(set(rows)))
    return sp.csr_matrix((np.ones(len(at), np.float32), (at[:, 0], at[:, 1])), shape=(300, 90))
fit, held = pairs_of(8), pairs_of(4)
held = (held - held.multiply(fit)).tocsr(); held.eliminate_zeros()
sides = fit_sides(fit, SpectralOptions(rank=16, dim=16), 1)
told = {}

options = ConvolutionOptions(epochs=6)
def trained(seconds=3600.0):
    tower = ConvolutionTower(fit, start_of(fit, sides), options, 1)
    return tower.train(seconds), tower.vectors()
(whole, (users, items)), (_, again) = trained(), trained()
scores = users @ items.T
own = np.arange(90)[None, :] // 30 == np.arange(300)[:, None] % 3
told['whole'], told['own'], told['other'] = whole, float(scores[own].mean()), float(scores[~own].mean())
told['repeated'] = float(max(abs(users - again[0]).max(), abs(items - again[1]).max()))
told['length'] = float(abs(np.linalg.norm(np.vstack([users, items]), axis=1) - 1).max())
late, vectors = trained(1e-9)
told['late'], told['lateFinite'] = late, bool(np.isfinite(vectors[0]).all())

matrix = adjacency(fit)
dense = matrix.to_dense()
told['symmetric'] = float((dense - dense.T).abs().max())
table = torch.randn(390, 4)
told['smooth'] = float((smooth(matrix, table) - (table + dense @ table + dense @ dense @ table) / 3).abs().max())
left, right = balanced(start_of(fit, sides))
told['balanced'] = float(abs(np.linalg.norm(left, axis=0) / np.linalg.norm(right, axis=0) * np.linalg.norm(right) / np.linalg.norm(left) - 1).max())

validation = Validation(fit, held, np.flatnonzero(np.diff(held.indptr)))
noise = torch.from_numpy(draw.standard_normal((len(validation.users), 90)).astype(np.float32))
def searched(fit_seconds):
    search = ConvolutionSearch(validation, sides, noise, 0.5, 0.0, Clock(3600.0), fit_seconds, 1)
    found = search.run()
    return {'weight': found[1], 'epochs': found[0].epochs, 'trials': len(search.table), **search.gain}
told['search'], told['hurried'] = searched(36000.0), searched(1e-6)

a, b = encode(fit, sides, 0.0), (users, items)
both = joined([(a, .25), (b, .75)])
mixed, wanted = both[0] @ both[1].T, .25 * a[0] @ a[1].T + .75 * b[0] @ b[1].T
told['joined'] = float(np.abs(mixed - wanted / wanted.std(axis=1, keepdims=True)).max())
told['recent'] = recent(sp.csr_matrix((np.ones(3, np.float32), [2, 0, 1], [0, 2, 2, 3]), shape=(3, 3)), 1.0).toarray().tolist()
told['gain'] = paired_gain(np.array([1., 2., 3.]), np.array([0., 2., 1.]))
print(json.dumps(told))`;

describe.skipIf(!PYTHON)(`trained tower of the retrieval evaluation${REASON}`, PATIENT, () => {
  // biome-ignore lint/suspicious/noExplicitAny: what the script above prints
  let told: any;

  beforeAll(async () => {
    const env = { ...process.env, OMP_NUM_THREADS: '1' };
    const { stdout } = await promisify(execFile)(PYTHON!, ['-c', SCRIPT], { cwd: TRAIN, env });
    told = JSON.parse(stdout);
  }, PATIENT.timeout);

  it('puts a user nearer to the items of the own interest than to others, with unit vectors', () => {
    expect(told.whole).toBe(true);
    expect(told.own).toBeGreaterThan(told.other + 0.2);
    expect(told.length).toBeLessThan(1e-5);
  });

  it('learns the same from the same seed', () => {
    expect(told.repeated).toBeLessThan(1e-4);
  });

  it('says that it was cut short where time ran out, with vectors that can still be used', () => {
    expect(told.late).toBe(false);
    expect(told.lateFinite).toBe(true);
  });

  it('smooths by the mean of the hops of a symmetric graph, from sides of one scale', () => {
    expect(told.symmetric).toBe(0);
    expect(told.smooth).toBeLessThan(1e-5);
    expect(told.balanced).toBeLessThan(1e-3);
  });

  it('takes the tower with a weight where it helps beyond the noise, and none where a fit has no time for it', () => {
    expect(told.search.trials).toBeGreaterThan(0);
    expect(told.search.mean).toBeGreaterThan(told.search.standardError);
    expect(told.search.weight).toBeGreaterThan(0);
    expect(told.hurried).toMatchObject({ weight: 0, trials: 0, epochs: 0 });
  });

  it('joins towers into one whose product is the weighted sum of theirs, at unit spread', () => {
    expect(told.joined).toBeLessThan(1e-3);
  });

  it('weighs a history by its place in the line, the last item in full', () => {
    expect(told.recent).toEqual([
      [1, 0, 0.5],
      [0, 0, 0],
      [0, 1, 0],
    ]);
  });

  it('compares in pairs', () => {
    expect(told.gain[0]).toBeCloseTo(1, 12);
    expect(told.gain[1]).toBeCloseTo(1 / Math.sqrt(3), 12);
  });
});
