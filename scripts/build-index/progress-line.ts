// Progress of a build on stderr: one bar that is redrawn on a terminal, a plain line every few seconds elsewhere,
// each with the rate and, where the total is known, the time left.
import type { WriteStream } from 'node:tty';
import { Presets, SingleBar } from 'cli-progress';
import type { RunBuildIndex } from './run.ts';

type Step = Parameters<NonNullable<RunBuildIndex['onProgress']>>[0];

const LABELS: Record<Step['stage'], string> = {
  embed: 'posts embedded',
  events: 'events counted',
  edges: 'edges counted',
  users: 'users written',
  neighbours: 'rows in the item graph',
  lists: 'rows assigned to inverted lists',
  graph: 'posts in the graph',
  write: 'files written',
  verify: 'posts verified',
  calibrate: 'queries measured',
};
const LINE_MS = 5000;

export class BuildProgressLine {
  readonly #out: WriteStream;
  readonly #bar: SingleBar | null;
  #stage: Step['stage'] | null = null;
  #startedAt = 0;
  #shownAt = 0;
  #last: Step | null = null;

  constructor(out: WriteStream) {
    this.#out = out;
    const format = '{label} |{bar}| {value}/{max} {rate} {left}';
    this.#bar = out.isTTY
      ? new SingleBar({ format, stream: out, hideCursor: true }, Presets.shades_classic)
      : null;
  }

  show(step: Step): void {
    const now = performance.now();
    if (step.stage !== this.#stage) {
      this.#finishStage();
      this.#stage = step.stage;
      this.#startedAt = now;
      this.#shownAt = now;
      this.#bar?.start(Math.max(1, step.total ?? step.done), step.done, this.#texts(step));
    }
    this.#last = step;
    if (this.#bar) {
      if (step.total === null) this.#bar.setTotal(Math.max(1, step.done));
      this.#bar.update(step.done, this.#texts(step));
    } else if (now - this.#shownAt >= LINE_MS) {
      this.#shownAt = now;
      this.#line(step);
    }
  }

  end(): void {
    this.#finishStage();
    this.#stage = null;
  }

  #finishStage(): void {
    if (this.#bar) this.#bar.stop();
    else if (this.#last && this.#last.done > 0) this.#line(this.#last);
    this.#last = null;
  }

  #line(step: Step): void {
    const { label, rate, left } = this.#texts(step);
    const of = step.total === null ? '' : ` of ${step.total}`;
    this.#out.write(`${label}: ${step.done}${of} ${rate} ${left}`.trimEnd().concat('\n'));
  }

  #texts(step: Step): { label: string; rate: string; left: string } {
    const seconds = (performance.now() - this.#startedAt) / 1000;
    const perSecond = seconds > 0.2 ? step.done / seconds : 0;
    const left =
      step.total !== null && perSecond > 0 ? `${Math.ceil((step.total - step.done) / perSecond)} s left` : '';
    return {
      label: LABELS[step.stage],
      rate: perSecond > 0 ? `${Math.round(perSecond)}/s` : '',
      left,
    };
  }
}
