// Reads V8's .cpuprofile files: self time by function and by part of the program, within a span of time; folded stacks
// for flame graphs. Pure. Called by profile.ts.

interface CallFrame {
  functionName: string;
  url: string;
  lineNumber: number;
}

export interface CpuProfile {
  nodes: { id: number; callFrame: CallFrame; children?: number[] }[];
  /** µs on the monotonic clock. */
  startTime: number;
  endTime: number;
  samples: number[];
  timeDeltas: number[];
}

export interface SelfTime {
  name: string;
  ms: number;
}

export interface ProfileSummary {
  /** All but idle. */
  busyMs: number;
  functions: SelfTime[];
  parts: SelfTime[];
  /** `outer;inner` → ms. */
  stacks: Map<string, number>;
}

const IDLE = new Set(['(idle)', '(root)']);

/** Of the samples within [fromUs, toUs). */
export function summarise(profile: CpuProfile, fromUs: number, toUs: number): ProfileSummary {
  const byId = new Map(profile.nodes.map((node) => [node.id, node]));
  const parentOf = new Map<number, number>();
  for (const { id, children } of profile.nodes) for (const child of children ?? []) parentOf.set(child, id);
  const selfMs = new Map<number, number>();
  let at = profile.startTime;
  for (let i = 0; i < profile.samples.length; i++) {
    at += profile.timeDeltas[i];
    // A sample stands for the time until the next one.
    const lasts = Math.max(0, profile.timeDeltas[i + 1] ?? 0);
    if (at >= fromUs && at < toUs) add(selfMs, profile.samples[i], lasts / 1000);
  }
  const functions = new Map<string, number>();
  const parts = new Map<string, number>();
  const stacks = new Map<string, number>();
  let busyMs = 0;
  for (const [id, ms] of selfMs) {
    const { callFrame } = byId.get(id)!;
    if (IDLE.has(callFrame.functionName)) continue;
    busyMs += ms;
    add(functions, nameOf(callFrame), ms);
    add(parts, partOf(callFrame), ms);
    const stack: string[] = [];
    for (let node: number | undefined = id; node !== undefined; node = parentOf.get(node)) {
      const frame = byId.get(node)!.callFrame;
      if (frame.functionName !== '(root)') stack.unshift(nameOf(frame).replaceAll(';', ','));
    }
    add(stacks, stack.join(';'), ms);
  }
  return { busyMs, functions: falling(functions), parts: falling(parts), stacks };
}

/** True where any function of the profile is of a file whose URL has `text` in it. */
export function mentions(profile: CpuProfile, text: string): boolean {
  return profile.nodes.some(({ callFrame }) => callFrame.url.includes(text));
}

/** `retrieve candidates/fresh-source.ts:24` */
function nameOf({ functionName, url, lineNumber }: CallFrame): string {
  const name = functionName || '(anonymous)';
  return url === '' ? name : `${name} ${url.split('/').slice(-2).join('/')}:${lineNumber + 1}`;
}

/** `src/api`, `node_modules/fastify`, `node: http`, `(garbage collector)`, `native`. */
function partOf({ functionName, url }: CallFrame): string {
  if (url.startsWith('wasm:')) return 'WebAssembly';
  const dependency = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1];
  if (dependency) return dependency;
  if (url.startsWith('node:'))
    return `node: ${
      url
        .slice(5)
        .replace(/^internal\//, '')
        .split('/')[0]
    }`;
  const own = /\/(src\/[^/]+)/.exec(url)?.[1];
  if (own) return own;
  return functionName.startsWith('(') && functionName !== '(anonymous)' ? functionName : 'native';
}

function add<K>(sums: Map<K, number>, key: K, ms: number): void {
  sums.set(key, (sums.get(key) ?? 0) + ms);
}

function falling(sums: Map<string, number>): SelfTime[] {
  return [...sums].map(([name, ms]) => ({ name, ms })).sort((a, b) => b.ms - a.ms);
}
