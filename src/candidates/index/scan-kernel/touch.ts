// Loads begun before their bytes are needed, so that their cache misses overlap.

/** What the loads are counted into; exported by the module, so that no optimiser drops them. */
export let touched: u32 = 0;

/** Uses touched bytes, so that no optimiser drops the loads. */
@inline
export function keepLoads(ahead: v128): void {
  if (v128.any_true(i32x4.eq(ahead, i32x4.splat(0x7fc0dead)))) touched++;
}
