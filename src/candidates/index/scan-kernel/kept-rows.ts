// What a scan carries from one run of rows to the next: the score to beat and the candidates in the buffer.
import { packed } from './candidate';
import { cut, select } from './select';

/** Code scores at or below it are left out. */
export let threshold: i32 = 0;
let count: u32 = 0;

/** Before the first run of a scan. */
@inline
export function begin(): void {
  threshold = i32.MIN_VALUE;
  count = 0;
}

@inline
export function isDeleted(deleted: usize, row: u32): bool {
  return deleted != 0 && ((load<u8>(deleted + (row >> 3)) >> (row & 7)) & 1) != 0;
}

/** Writes a candidate behind the last one, and counts it where its lane is above the threshold and it is not deleted. */
@inline
export function append(above: v128, lane: u32, score: i32, row: u32, deleted: usize, buffer: usize): void {
  store<u64>(buffer + ((<usize>count) << 3), packed(score, row));
  const isAbove = (<u32>i32x4.bitmask(above) >> lane) & 1;
  count += isAbove & ~(<u32>isDeleted(deleted, row));
}

/** Whether four more candidates fit in the buffer. */
@inline
export function hasRoom(cap: u32): bool {
  return count + 4 <= cap;
}

/** Cuts the buffer to the `keep` best; from then on the worst of them is to be beaten. */
@inline
export function cutToBest(buffer: usize, keep: u32): void {
  threshold = cut(buffer, count, keep);
  count = keep;
}

/** Takes a candidate in where it beats the threshold; true where that has risen. */
@inline
export function offer(score: i32, row: u32, buffer: usize, keep: u32, cap: u32): bool {
  if (score <= threshold) return false;
  store<u64>(buffer + ((<usize>count) << 3), packed(score, row));
  count++;
  if (hasRoom(cap)) return false;
  cutToBest(buffer, keep);
  return true;
}

/** Leaves at most `keep` candidates and returns how many. */
@inline
export function finish(buffer: usize, keep: u32): u32 {
  if (count > keep) {
    select(buffer, count, keep);
    count = keep;
  }
  return count;
}
