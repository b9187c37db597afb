// The exact scan in WebAssembly SIMD (AssemblyScript): 64-dimensional rows of unsigned 7-bit codes against an int8
// query, then a float32 re-score. Allocates nothing: every address comes from the caller, so that all workers share
// one memory. This file is the module's interface; the others of the folder are compiled into it.
export { histogram } from './histogram';
export { scan, scanPacked } from './scan-runs';
export { scanLists } from './scan-lists';
export { scoreRange, scoreRows } from './float-scores';
export { assign } from './assign';
export { readAll } from './read-all';
export { rescore } from './float-scores';
export { touched } from './touch';
export { take } from './take';
