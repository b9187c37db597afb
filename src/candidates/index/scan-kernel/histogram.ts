// Scratch memory in which bytes or buckets are counted; selection and radix sort use it by turns.

/** Address of scratch memory of this instance's thread, u32[1024]; set before anything is called. */
export let histogram: usize = 0;

@inline
export function increment(at: usize): void {
  store<u32>(at, load<u32>(at) + 1);
}
