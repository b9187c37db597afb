// The best candidates of a buffer brought to its front, by buckets of their scores.
import { get, scoreOf, set } from './candidate';
import { quickselect } from './comparison-sort';
import { histogram, increment } from './histogram';

/** Candidates from which buckets are the faster selection. */
const SELECT_FROM: u32 = 64;

/** Selects the `keep` best to the front and returns the worst of their scores. */
export function cut(buffer: usize, count: u32, keep: u32): i32 {
  let worst: u64 = u64.MAX_VALUE;
  for (let i = select(buffer, count, keep); i < keep; i++) {
    const candidate = load<u64>(buffer + ((<usize>i) << 3));
    if (candidate < worst) worst = candidate;
  }
  return scoreOf(worst);
}

/**
 * The `keep` largest of `count` come to the front, the smallest of them at or behind the position that is returned. By
 * the bucket of their scores, so that few are compared with one another: comparisons cannot be foreseen.
 */
export function select(buffer: usize, count: u32, keep: u32): u32 {
  if (count < SELECT_FROM) {
    quickselect(buffer, 0, <i32>count - 1, <i32>keep - 1);
    return 0;
  }
  const end = buffer + ((<usize>count) << 3);
  let least = u32.MAX_VALUE;
  let most: u32 = 0;
  for (let at = buffer; at < end; at += 8) {
    const score = load<u32>(at, 4);
    least = min(least, score);
    most = max(most, score);
  }
  const bits = 32 - clz(most - least);
  const shift = bits > 8 ? bits - 8 : 0;
  memory.fill(histogram, 0, 1024);
  for (let at = buffer; at < end; at += 8) increment(histogram + (((load<u32>(at, 4) - least) >> shift) << 2));
  let bucket: u32 = 256;
  let within: u32 = 0;
  while (within < keep) within += load<u32>(histogram + ((--bucket) << 2));
  const bound = least + (bucket << shift);
  let next = buffer;
  for (let at = buffer; at < end; at += 8) {
    const candidate = load<u64>(at);
    store<u64>(next, candidate);
    next += (<usize>(<u32>(candidate >> 32) >= bound)) << 3;
  }
  // What lies in the last bucket goes behind the others.
  let i: i32 = 0;
  let j: i32 = <i32>within;
  while (i < j) {
    const candidate = get(buffer, i);
    if ((<u32>(candidate >> 32) - least) >> shift != bucket) {
      i++;
      continue;
    }
    j--;
    set(buffer, i, get(buffer, j));
    set(buffer, j, candidate);
  }
  quickselect(buffer, j, <i32>within - 1, <i32>keep - 1);
  return <u32>j;
}
