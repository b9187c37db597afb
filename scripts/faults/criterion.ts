// One thing a scenario asks for, what was measured, and whether that is good enough. Pure. Called by the scenarios.

export interface Criterion {
  name: string;
  limit: string;
  value: string;
  pass: boolean;
  /** Rests on how fast the machine is at the moment: the tests in CI do not ask for it, the report does. */
  timed: boolean;
}

interface Options {
  unit?: string;
  timed?: boolean;
}

/** null = it never came: a failure. */
export function atMost(name: string, value: number | null, limit: number, options: Options = {}): Criterion {
  return made(name, `≤ ${text(limit, options)}`, value, value !== null && value <= limit, options);
}

export function atLeast(name: string, value: number | null, limit: number, options: Options = {}): Criterion {
  return made(name, `≥ ${text(limit, options)}`, value, value !== null && value >= limit, options);
}

export function equals(name: string, value: number, expected: number, options: Options = {}): Criterion {
  return made(name, `= ${text(expected, options)}`, value, value === expected, options);
}

/** `what` says what was found, in a few words. */
export function holds(name: string, pass: boolean, what: string): Criterion {
  return { name, limit: 'holds', value: what, pass, timed: false };
}

function made(name: string, limit: string, value: number | null, pass: boolean, options: Options): Criterion {
  return { name, limit, value: text(value, options), pass, timed: options.timed ?? false };
}

function text(value: number | null, { unit }: Options): string {
  if (value === null) return 'never';
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return `${Number(value.toFixed(digits))}${unit ? ` ${unit}` : ''}`;
}
