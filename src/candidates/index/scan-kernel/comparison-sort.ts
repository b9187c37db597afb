// Candidates put in falling order, or parted, by comparing them with one another.
import { get, set } from './candidate';

/** Hoare's partition in falling order around the median of three; returns j: [low, j] ≥ pivot ≥ (j, high]. */
function partition(buffer: usize, low: i32, high: i32): i32 {
  const a = get(buffer, low);
  const b = get(buffer, (low + high) >>> 1);
  const c = get(buffer, high);
  const pivot = a > b ? (b > c ? b : a > c ? c : a) : a > c ? a : b > c ? c : b;
  let i = low - 1;
  let j = high + 1;
  while (true) {
    do i++;
    while (get(buffer, i) > pivot);
    do j--;
    while (get(buffer, j) < pivot);
    if (i >= j) return j;
    const swap = get(buffer, i);
    set(buffer, i, get(buffer, j));
    set(buffer, j, swap);
  }
}

/** Quickselect (Hoare, 1961): the largest of [low, high] come to the front of it, up to position `last`. */
export function quickselect(buffer: usize, low: i32, high: i32, last: i32): void {
  while (low < high) {
    const j = partition(buffer, low, high);
    if (last <= j) high = j;
    else low = j + 1;
  }
}

/** Quicksort in falling order, insertion sort below 16. */
export function sort(buffer: usize, low: i32, high: i32): void {
  while (high - low > 16) {
    const j = partition(buffer, low, high);
    if (j - low < high - j) {
      sort(buffer, low, j);
      low = j + 1;
    } else {
      sort(buffer, j + 1, high);
      high = j;
    }
  }
  for (let i = low + 1; i <= high; i++) {
    const value = get(buffer, i);
    let j = i - 1;
    while (j >= low && get(buffer, j) < value) {
      set(buffer, j + 1, get(buffer, j));
      j--;
    }
    set(buffer, j + 1, value);
  }
}
