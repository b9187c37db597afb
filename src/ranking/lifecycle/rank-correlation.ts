// Spearman's rank correlation (1904) of two score lists over the same candidates.

/** In [−1, 1]; ties share their mean rank. 0 where a list is constant or shorter than two: it orders nothing. */
export function rankCorrelation(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const size = Math.min(a.length, b.length);
  if (size < 2) return 0;
  const [x, y] = [meanRanks(a, size), meanRanks(b, size)];
  const middle = (size - 1) / 2;
  let covariance = 0;
  let varianceX = 0;
  let varianceY = 0;
  for (let i = 0; i < size; i++) {
    const dx = x[i] - middle;
    const dy = y[i] - middle;
    covariance += dx * dy;
    varianceX += dx * dx;
    varianceY += dy * dy;
  }
  return varianceX === 0 || varianceY === 0 ? 0 : covariance / Math.sqrt(varianceX * varianceY);
}

function meanRanks(values: ArrayLike<number>, size: number): Float64Array {
  const order = Uint32Array.from({ length: size }, (_, i) => i).sort((i, j) => values[i] - values[j]);
  const ranks = new Float64Array(size);
  for (let from = 0; from < size; ) {
    let to = from + 1;
    while (to < size && values[order[to]] === values[order[from]]) to++;
    for (let i = from; i < to; i++) ranks[order[i]] = (from + to - 1) / 2;
    from = to;
  }
  return ranks;
}
