// Rows of a result table on stderr, and the figure that stands in them. Called by the replay evaluations.

export function tableRow(name: string, ...cells: (string | number)[]): string {
  const texts = cells.map((cell) => (typeof cell === 'number' ? cell.toFixed(4) : cell));
  return `${name.padEnd(36)}${texts.map((text) => text.padStart(12)).join('')}`;
}

/** With its sign. */
export function signed(value: number): string {
  return `${value < 0 ? '' : '+'}${value.toFixed(4)}`;
}

/** Area under the ROC curve over all rows, ties half; NaN where one class is missing. */
export function pooledAuc(scores: Float32Array, labels: Uint8Array): number {
  const order = Array.from(scores.keys()).sort((a, b) => scores[a] - scores[b]);
  let rankSum = 0;
  let positives = 0;
  for (let start = 0; start < order.length; ) {
    let end = start + 1;
    while (end < order.length && scores[order[end]] === scores[order[start]]) end++;
    for (let i = start; i < end; i++) {
      if (labels[order[i]] !== 1) continue;
      positives++;
      rankSum += (start + 1 + end) / 2;
    }
    start = end;
  }
  const negatives = order.length - positives;
  return (rankSum - (positives * (positives + 1)) / 2) / (positives * negatives);
}
