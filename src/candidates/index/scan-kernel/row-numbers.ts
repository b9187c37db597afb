// The row numbers (u32) of inverted lists, rising within a list.

/** Where the numbers (u32, rising) of [at, end) reach `from`. */
export function firstFrom(at: usize, end: usize, from: u32): usize {
  let low = at;
  let high = end;
  while (low < high) {
    const middle = low + ((((high - low) >> 2) >> 1) << 2);
    if (load<u32>(middle) < from) low = middle + 4;
    else high = middle;
  }
  return low;
}

/** The row at a position of `rows`, which 0 stands for where positions are rows. */
@inline
export function rowAt(rows: usize, position: u32): u32 {
  return rows == 0 ? position : load<u32>(rows + ((<usize>position) << 2));
}
