// What several interest vectors per user add: the same generated world served twice, compared user by user, and apart for
// users whose true interests lie far from one another. Called by demo-stages.ts.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../../src/config.ts';
import type { World } from '../generate/world.ts';
import type { UserFigures } from './demo-evaluation.ts';
import { meanOf } from './slate-metrics.ts';

/** An interest counts as separate from this weight on, and below this cosine to each heavier one that counts. */
const SEPARATE_WEIGHT = 0.15;
const SEPARATE_COSINE = 0.4;
/** By how many interests lie apart. */
const GROUPS: Record<string, (interests: number) => boolean> = {
  all: () => true,
  'one interest': (n) => n === 1,
  'two separate': (n) => n === 2,
  'three or more': (n) => n >= 3,
};
const MEASURES = ['candidateRecall', 'ranked', 'slate', 'slateWithFatigue'] as const;

export type FiguresByUser = Map<number, UserFigures>;

interface Difference {
  /** Mean with the compared setting, and as configured. */
  compared: number;
  configured: number;
  /** Configured less compared, paired over the users. */
  gain: number;
  standardError: number;
}

export interface InterestComparison {
  groups: Record<string, { users: number } & Partial<Record<(typeof MEASURES)[number], Difference>>>;
}

/** The config with `nearest.interests` set to `interests`; its retrieval file is written into `dataDir`. */
export function configWithInterests(config: Config, dataDir: string, interests: number): Config {
  const file = config.RETRIEVAL_FILE;
  const given = file === undefined ? {} : JSON.parse(readFileSync(file, 'utf8'));
  const path = join(dataDir, 'retrieval-compared.json');
  writeFileSync(path, JSON.stringify({ ...given, nearest: { ...given.nearest, interests } }));
  return Object.freeze({ ...config, RETRIEVAL_FILE: path });
}

export function compareUsers(
  world: Pick<World, 'profile' | 'similarity'>,
  compared: FiguresByUser,
  configured: FiguresByUser,
): InterestComparison {
  const counts = new Map([...configured.keys()].map((user) => [user, separateInterests(world, user)]));
  const groups: InterestComparison['groups'] = {};
  for (const [name, belongs] of Object.entries(GROUPS)) {
    const users = [...counts].filter(([, n]) => belongs(n));
    groups[name] = { users: users.length };
    for (const measure of MEASURES) {
      const pairs = users.flatMap(([user]) => {
        const [before, after] = [compared.get(user)?.[measure], configured.get(user)?.[measure]];
        return before === undefined || after === undefined ? [] : [[before, after]];
      });
      if (pairs.length === 0) continue;
      const { mean, standardError } = meanOf(pairs.map(([before, after]) => after - before));
      groups[name][measure] = {
        compared: meanOf(pairs.map(([before]) => before)).mean,
        configured: meanOf(pairs.map(([, after]) => after)).mean,
        gain: mean,
        standardError,
      };
    }
  }
  return { groups };
}

/** How many interests of a generated user lie apart, heaviest first; at least 1. */
export function separateInterests(world: Pick<World, 'profile' | 'similarity'>, user: number): number {
  const kept: number[] = [];
  for (const { subTopic, weight } of world.profile(user).interests) {
    if (kept.length > 0 && weight < SEPARATE_WEIGHT) continue;
    if (kept.every((other) => world.similarity(other, subTopic) < SEPARATE_COSINE)) kept.push(subTopic);
  }
  return kept.length;
}
