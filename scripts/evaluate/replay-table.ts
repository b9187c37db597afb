// Rows of a result table on stderr. Called by the replay evaluations.

export function tableRow(name: string, ...cells: (string | number)[]): string {
  const texts = cells.map((cell) => (typeof cell === 'number' ? cell.toFixed(4) : cell));
  return `${name.padEnd(36)}${texts.map((text) => text.padStart(12)).join('')}`;
}

/** With its sign. */
export function signed(value: number): string {
  return `${value < 0 ? '' : '+'}${value.toFixed(4)}`;
}
