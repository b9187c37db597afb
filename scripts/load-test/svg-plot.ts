// Line plots as inline SVG, linear or logarithmic, with no script and nothing from outside. Called by html-report.ts.

export interface Series {
  name: string;
  /** Class of the line: s0 … s4. */
  style: number;
  points: [number, number | null][];
  dashed?: boolean;
}

export interface Axis {
  label: string;
  log?: boolean;
  /** Fixed ends; otherwise those of the data. */
  from?: number;
  to?: number;
  ticks?: { at: number; text: string }[];
}

export interface Plot {
  title: string;
  x: Axis;
  y: Axis;
  series: Series[];
  /** Vertical lines with a name. */
  marks?: { at: number; text: string }[];
}

const WIDTH = 720;
const HEIGHT = 300;
const LEFT = 64;
const RIGHT = 16;
const TOP = 30;
const BOTTOM = 66;

export function svgPlot(plot: Plot): string {
  const all = plot.series.flatMap(({ points }) => points);
  const x = scale(
    plot.x,
    all.map(([value]) => value),
    LEFT,
    WIDTH - RIGHT,
  );
  const y = scale(
    plot.y,
    all.flatMap(([, value]) => (value === null ? [] : [value])),
    HEIGHT - BOTTOM,
    TOP,
  );
  const parts = [
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(plot.title)}">`,
    `<text class="title" x="${LEFT}" y="18">${escapeHtml(plot.title)}</text>`,
    ...y.ticks.map(({ at, text }) => {
      const height = fixed(y.of(at));
      return (
        `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${height}" y2="${height}"/>` +
        `<text x="${LEFT - 6}" y="${fixed(y.of(at) + 4)}" text-anchor="end">${escapeHtml(text)}</text>`
      );
    }),
    ...x.ticks.map(
      ({ at, text }) =>
        `<line class="grid" x1="${fixed(x.of(at))}" x2="${fixed(x.of(at))}" y1="${TOP}" y2="${HEIGHT - BOTTOM}"/>` +
        `<text x="${fixed(x.of(at))}" y="${HEIGHT - BOTTOM + 16}" text-anchor="middle">${escapeHtml(text)}</text>`,
    ),
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - BOTTOM + 34}" text-anchor="middle">${escapeHtml(plot.x.label)}</text>`,
    `<text transform="translate(14 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">${escapeHtml(plot.y.label)}</text>`,
    ...(plot.marks ?? []).map(
      ({ at, text }, i) =>
        `<line class="mark" x1="${fixed(x.of(at))}" x2="${fixed(x.of(at))}" y1="${TOP}" y2="${HEIGHT - BOTTOM}"/>` +
        `<text class="mark-text" x="${fixed(x.of(at) + 4)}" y="${TOP + 11 + (i % 3) * 13}">${escapeHtml(text)}</text>`,
    ),
    ...plot.series.map((series) => seriesPath(series, x.of, y.of)),
    ...plot.series.map(({ name, style, dashed }, i) => {
      const before = plot.series.slice(0, i).reduce((sum, { name: text }) => sum + 48 + 7 * text.length, 0);
      const left = LEFT + before;
      const line = `<line class="s${style}${dashed ? ' dashed' : ''}" x1="${left}" x2="${left + 22}" y1="${HEIGHT - 12}" y2="${HEIGHT - 12}"/>`;
      return `${line}<text x="${left + 28}" y="${HEIGHT - 8}">${escapeHtml(name)}</text>`;
    }),
    '</svg>',
  ];
  return parts.join('\n');
}

function seriesPath(series: Series, x: (v: number) => number, y: (v: number) => number): string {
  let path = '';
  let open = false;
  let dots = '';
  for (const [at, value] of series.points) {
    if (value === null) {
      open = false;
      continue;
    }
    path += `${open ? 'L' : 'M'}${fixed(x(at))} ${fixed(y(value))}`;
    open = true;
    if (series.points.length <= 60) {
      dots += `<circle class="s${series.style}" cx="${fixed(x(at))}" cy="${fixed(y(value))}" r="2.5"><title>${fixed(at)}: ${fixed(value)}</title></circle>`;
    }
  }
  return `<path class="s${series.style}${series.dashed ? ' dashed' : ''}" d="${path}"/>${dots}`;
}

interface Scale {
  of(value: number): number;
  ticks: { at: number; text: string }[];
}

function scale(axis: Axis, values: number[], start: number, end: number): Scale {
  const usable = axis.log ? values.filter((value) => value > 0) : values;
  let from = axis.from ?? Math.min(...usable, ...(axis.log ? [] : [0]));
  let to = axis.to ?? Math.max(...usable);
  if (!Number.isFinite(from) || !Number.isFinite(to)) [from, to] = [axis.log ? 1 : 0, 10];
  if (axis.log) {
    if (axis.from === undefined) from = 10 ** Math.floor(Math.log10(from));
    if (axis.to === undefined) to = 10 ** Math.ceil(Math.log10(to));
    if (to <= from) to = from * 10;
    const span = Math.log(to / from);
    const of = (value: number) => start + ((end - start) * Math.log(Math.max(value, from) / from)) / span;
    return { of, ticks: axis.ticks ?? powers(from, to) };
  }
  if (to <= from) to = from + 1;
  const step = niceStep((to - from) / 6);
  if (axis.to === undefined) to = Math.ceil(to / step) * step;
  const of = (value: number) => start + ((end - start) * (value - from)) / (to - from);
  const ticks: Scale['ticks'] = [];
  for (let at = Math.ceil(from / step) * step; at <= to + step * 1e-6; at += step) {
    ticks.push({ at, text: String(Number(at.toPrecision(6))) });
  }
  return { of, ticks: axis.ticks ?? ticks };
}

function powers(from: number, to: number): Scale['ticks'] {
  const ticks: Scale['ticks'] = [];
  const dense = Math.log10(to / from) <= 2;
  for (let power = Math.floor(Math.log10(from)); 10 ** power <= to * 1.000001; power++) {
    for (const factor of dense ? [1, 2, 5] : [1]) {
      const at = factor * 10 ** power;
      if (at >= from * 0.999999 && at <= to * 1.000001)
        ticks.push({ at, text: String(Number(at.toPrecision(3))) });
    }
  }
  return ticks;
}

function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * (rough / power <= 1 ? 1 : rough / power <= 2 ? 2 : rough / power <= 5 ? 5 : 10);
}

function fixed(value: number): string {
  return String(Number(value.toFixed(2)));
}

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
