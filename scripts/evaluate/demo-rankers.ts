// What another ranker, and pre-ranking before each, change: the same generated world served by every variant, NDCG@50
// compared user by user with the ranker that serves, as it serves. Called by demo-stages.ts.
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../../src/config.ts';
import { MAIN_RANKER, versionsOf } from '../../src/ranking/model-registry.ts';
import { adoptModel } from '../models/adopt.ts';
import { resolveModel } from '../models/model-folder.ts';
import { DCN_RANKER } from '../train/train-ranker.ts';
import type { FiguresByUser } from './demo-interests.ts';
import { meanOf } from './slate-metrics.ts';

/** Candidates that pre-ranking leaves. */
const KEPT = 250;
/** Half-width of a 95 % interval in standard errors. */
const NORMAL_95 = 1.96;
const MEASURES = ['ranked', 'slate', 'slateWithFatigue'] as const;

export interface RankerVariant {
  name: string;
  config: Config;
  /** Name of the variant that it is compared with; null for the first. */
  against: string | null;
}

export interface Change {
  /** NDCG@50 of this variant less that of the other, paired over the users, with its 95 % interval. */
  change: number;
  interval: [low: number, high: number];
  /** The change as a share of the other's mean. */
  share: number;
}

/** The ranker that serves and, where there is one, the DCN; each alone and behind the light ranker. */
export async function rankerVariants(config: Config, dataDir: string): Promise<RankerVariant[]> {
  const all = Object.freeze({ ...config, PRE_RANK: 0 });
  const cut = Object.freeze({ ...config, PRE_RANK: KEPT });
  const variants: RankerVariant[] = [
    { name: MAIN_RANKER, config: all, against: null },
    { name: `${MAIN_RANKER}, pre-ranked`, config: cut, against: MAIN_RANKER },
  ];
  if ((await versionsOf(config.MODELS_DIR, DCN_RANKER)).length === 0) return variants;
  const MODELS_DIR = join(dataDir, 'models-with-dcn');
  await mkdir(MODELS_DIR, { recursive: true });
  await cp(config.MODELS_DIR, MODELS_DIR, { recursive: true });
  const { as } = await adoptModel(MODELS_DIR, await resolveModel(MODELS_DIR, DCN_RANKER));
  await writeFile(join(MODELS_DIR, MAIN_RANKER, 'current'), `${as.version}\n`);
  return [
    ...variants,
    { name: DCN_RANKER, config: Object.freeze({ ...all, MODELS_DIR }), against: MAIN_RANKER },
    {
      name: `${DCN_RANKER}, pre-ranked`,
      config: Object.freeze({ ...cut, MODELS_DIR }),
      against: DCN_RANKER,
    },
  ];
}

/** By measure, over the users that both have. */
export function changesOf(own: FiguresByUser, other: FiguresByUser): Record<string, Change> {
  const changes: Record<string, Change> = {};
  for (const measure of MEASURES) {
    const pairs = [...own].flatMap(([user, figures]) => {
      const [after, before] = [figures[measure], other.get(user)?.[measure]];
      return after === undefined || before === undefined ? [] : [[after, before]];
    });
    if (pairs.length === 0) continue;
    const { mean: change, standardError } = meanOf(pairs.map(([after, before]) => after - before));
    const base = meanOf(pairs.map(([, before]) => before)).mean;
    changes[measure] = {
      change,
      interval: [change - NORMAL_95 * standardError, change + NORMAL_95 * standardError],
      share: base === 0 ? 0 : change / base,
    };
  }
  return changes;
}
