// Fault 6: bad models land in the registry of a service that takes new versions by itself, one after another, while
// readers ask for feeds. None may ever make a reader's answer, and each must be turned away with a reason.
import { BAD_KINDS, type BadKind, writeBadModel } from './bad-models.ts';
import { startModelService, startReaders, until } from './model-service.ts';

export interface BadModelResult {
  version: string;
  kind: BadKind;
  detail: string;
  /** `refused` before any worker opened it, `rolled_back` from shadow, `none` when nobody noticed. */
  action: string;
  reason: string;
  seconds: number;
}

export interface BadModelReport {
  results: BadModelResult[];
  answers: number;
  failures: string[];
  /** Answers by model: only the good version may be in it. */
  byModel: Record<string, number>;
  served: string;
}

/** A short shadow on every request; canaries are never reached by a bad model, so that their size does not matter. */
const ROLLOUT = {
  schedule: {
    shadowSampleShare: 1,
    shadowSamples: 20,
    canaryShares: [0.1],
    canarySlates: 1000,
    minStageMs: 0,
  },
};
const WITHIN_MS = 60_000;

export async function runBadModels(
  count: number,
  onResult: (result: BadModelResult, done: number) => void = () => {},
): Promise<BadModelReport> {
  const world = await startModelService({ mode: 'auto', rollout: ROLLOUT });
  const readers = startReaders(world, { clients: 1 });
  const results: BadModelResult[] = [];
  try {
    for (let i = 0; i < count; i++) {
      const version = String(Number(world.first) + 1 + i);
      const kind = BAD_KINDS[i % BAD_KINDS.length];
      const began = performance.now();
      const seed = Math.floor(i / BAD_KINDS.length);
      const detail = await writeBadModel(world.goodFolder, world.modelsDir, version, kind, seed);
      let found: { action: string; reason?: string } | undefined;
      await until(async () => {
        const history = await world.history(20);
        found = history.find(
          (entry) =>
            entry.version === version && ['refused', 'rolled_back', 'promoted'].includes(entry.action),
        );
        return found !== undefined;
      }, WITHIN_MS);
      results.push({
        version,
        kind,
        detail,
        action: found?.action ?? 'none',
        reason: found?.reason ?? '',
        seconds: (performance.now() - began) / 1000,
      });
      onResult(results[i], i + 1);
    }
    const { serving } = await world.status();
    await readers.stop();
    const { answers, failures } = readers;
    const byModel = Object.fromEntries(readers.byModel);
    return { results, answers, failures, byModel, served: `ranker@${serving.ranker}` };
  } finally {
    await world.close();
  }
}
