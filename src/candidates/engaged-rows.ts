// The posts of a user's history that say what the user likes. Pure; called by the similar source and the interests.
import type { Catalogue, PackedUser } from '../contracts.ts';
import { ENGAGEMENT_CODES } from '../vocabulary.ts';

/**
 * Rows of the last `limit` distinct posts with a positive engagement, newest first. Left out: posts that the user
 * hid or reported as well, and those that the catalogue does not hold.
 */
export function engagedRows(
  user: Pick<PackedUser, 'historyKeys' | 'historyTypes'>,
  catalogue: Pick<Catalogue, 'rowOf'>,
  limit: number,
): number[] {
  const { historyKeys, historyTypes } = user;
  const liked = new Set<number>();
  const disliked = new Set<number>();
  for (let i = 0; i < historyTypes.length; i++) {
    const type = historyTypes[i];
    if (type === ENGAGEMENT_CODES.none) continue;
    const row = catalogue.rowOf(historyKeys[2 * i], historyKeys[2 * i + 1]);
    if (row < 0) continue;
    if (type === ENGAGEMENT_CODES.negative) disliked.add(row);
    else liked.add(row);
  }
  const rows: number[] = [];
  for (const row of liked) if (rows.length < limit && !disliked.has(row)) rows.push(row);
  return rows;
}
