// Progress of a long job on stderr: a bar on a terminal, a plain line every five seconds elsewhere. Called by scripts.
import cliProgress from 'cli-progress';

const PLAIN_EVERY_MS = 5_000;

export interface Progress {
  /** `done` of the total given at the start, or a fraction where the total is 1; `rows` is what the rate counts. */
  update(fraction: number, rows: number): void;
  stop(): void;
}

export function startProgress(label: string, stream: NodeJS.WriteStream = process.stderr): Progress {
  const startedAt = performance.now();
  let last = { fraction: 0, rows: 0 };
  const figures = () => {
    const seconds = (performance.now() - startedAt) / 1_000;
    const { fraction, rows } = last;
    const left = fraction > 0 ? (seconds / fraction) * (1 - fraction) : Number.NaN;
    return {
      rows: rows.toLocaleString('en'),
      rate: Math.round(rows / Math.max(seconds, 0.001)).toLocaleString('en'),
      left: Number.isFinite(left) ? `${Math.ceil(left)} s` : '?',
      seconds,
    };
  };
  if (!stream.isTTY) {
    let printedAt = startedAt;
    const print = () => {
      const { rows, rate, left, seconds } = figures();
      const percent = Math.floor(last.fraction * 100);
      stream.write(
        last.fraction < 1
          ? `${label}: ${percent} %, ${rows} rows, ${rate}/s, ${left} left\n`
          : `${label}: 100 %, ${rows} rows in ${seconds.toFixed(1)} s, ${rate}/s\n`,
      );
    };
    return {
      update(fraction, rows) {
        last = { fraction, rows };
        if (performance.now() - printedAt < PLAIN_EVERY_MS) return;
        printedAt = performance.now();
        print();
      },
      stop: print,
    };
  }
  const bar = new cliProgress.SingleBar(
    {
      format: `${label} [{bar}] {percentage} % | {items} rows | {rate}/s | {left} left`,
      hideCursor: true,
      stream,
    },
    cliProgress.Presets.shades_classic,
  );
  bar.start(100, 0, { items: '0', rate: '0', left: '?' });
  const show = () => {
    const { rows, rate, left } = figures();
    bar.update(Math.round(last.fraction * 100), { items: rows, rate, left });
  };
  return {
    update(fraction, rows) {
      last = { fraction, rows };
      show();
    },
    stop() {
      show();
      bar.stop();
    },
  };
}
