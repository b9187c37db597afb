// Placement rules: the share of followed authors over every beginning of the feed, and the distance between two
// posts of one author.
import type { Constraint } from './constraint.ts';
import type { Draft } from './draft.ts';
import type { RulesConfig } from './rules-config.ts';
import { WindowCap } from './window-cap.ts';

/** null when the shares rule nothing out. Of the first n posts, ⌊min·n⌋ to ⌈max·n⌉ are by followed authors. */
export function followedShare(draft: Draft, config: RulesConfig['network']): Constraint | null {
  const { minFollowedShare, maxFollowedShare } = config;
  if (minFollowedShare === 0 && maxFollowedShare === 1) return null;
  let placed = 0;
  let followed = 0;
  return {
    name: 'followed-share',
    open: draft.size,
    allows: (item) =>
      draft.followed[item] === 1
        ? followed + 1 <= Math.ceil(maxFollowedShare * (placed + 1))
        : followed >= Math.floor(minFollowedShare * (placed + 1)),
    placed: (item) => {
      placed++;
      followed += draft.followed[item];
    },
  };
}

/** null when posts of one author may be neighbours. */
export function authorDistance(draft: Draft, config: RulesConfig['network']): Constraint | null {
  if (config.minAuthorDistance <= 1) return null;
  return new WindowCap('author-distance', draft.authors, config.minAuthorDistance, 1);
}
