// Which share of the users gets what: sticky, the same on every replica, independent between salts.
import { hash32 } from '../../hashing.ts';

/** A user's place in [0, 1) under a salt; the same user, salt and code give the same place for ever. */
export function bucketOf(salt: string, userId: string): number {
  return hash32(`${salt}\0${userId}`) / 2 ** 32;
}
