import { describe, expect, it } from 'vitest';
import { type CpuProfile, mentions, summarise } from '../../../../scripts/bench/cpu-profile.ts';

const frame = (functionName: string, url = '') => ({ functionName, url, lineNumber: 9 });

/** main → work → { inner, idle }: samples of 1 ms each, from second 1 on. */
const PROFILE: CpuProfile = {
  nodes: [
    { id: 1, callFrame: frame('(root)'), children: [2, 5] },
    { id: 2, callFrame: frame('work', 'file:///home/x/src/api/page.ts'), children: [3, 4] },
    { id: 3, callFrame: frame('inner', 'file:///home/x/node_modules/@scope/lib/dist/a.js') },
    { id: 4, callFrame: frame('wasm-function[3]', 'wasm://wasm/abc') },
    { id: 5, callFrame: frame('(idle)') },
  ],
  startTime: 1_000_000,
  endTime: 1_006_000,
  samples: [2, 3, 3, 4, 5, 2],
  timeDeltas: [0, 1000, 1000, 1000, 1000, 1000],
};

describe('a CPU profile', () => {
  it('is summed by function, part and stack, without idle time', () => {
    const { busyMs, functions, parts, stacks } = summarise(PROFILE, 0, 2_000_000);
    expect(busyMs).toBe(4);
    expect(functions).toEqual([
      { name: 'inner dist/a.js:10', ms: 2 },
      { name: 'work api/page.ts:10', ms: 1 },
      { name: 'wasm-function[3] wasm/abc:10', ms: 1 },
    ]);
    expect(parts).toEqual([
      { name: '@scope/lib', ms: 2 },
      { name: 'src/api', ms: 1 },
      { name: 'WebAssembly', ms: 1 },
    ]);
    expect(stacks.get('work api/page.ts:10;inner dist/a.js:10')).toBe(2);
  });

  it('counts only what was sampled within the given time', () => {
    expect(summarise(PROFILE, 1_001_000, 1_002_000).functions).toEqual([
      { name: 'inner dist/a.js:10', ms: 1 },
    ]);
    expect(summarise(PROFILE, 2_000_000, 3_000_000).busyMs).toBe(0);
  });

  it('is recognised by the files whose functions ran', () => {
    expect(mentions(PROFILE, '/src/api/')).toBe(true);
    expect(mentions(PROFILE, '/src/worker.ts')).toBe(false);
  });
});
