// Quickselect (Hoare, 1961) over numbers in place. Called by the item graph's build and by the cut of the candidates.

/** The k-th largest of values[0 .. size), 1 ≤ k ≤ size; reorders them. */
export function selectLargest(values: Float64Array, size: number, k: number): number {
  let low = 0;
  let high = size - 1;
  const at = k - 1;
  while (low < high) {
    const pivot = values[(low + high) >> 1];
    let i = low;
    let j = high;
    while (i <= j) {
      while (values[i] > pivot) i++;
      while (values[j] < pivot) j--;
      if (i <= j) {
        const swap = values[i];
        values[i++] = values[j];
        values[j--] = swap;
      }
    }
    if (at <= j) high = j;
    else if (at >= i) low = i;
    else break;
  }
  return values[at];
}
