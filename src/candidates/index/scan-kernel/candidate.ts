// A candidate is a u64: order-preserving score in the high half, ~row in the low half (ties: lower row).

@inline
export function packed(score: i32, row: u32): u64 {
  return ((<u64>((<u32>score) ^ 0x80000000)) << 32) | <u64>~row;
}

@inline
export function scoreOf(candidate: u64): i32 {
  return <i32>((<u32>(candidate >> 32)) ^ 0x80000000);
}

@inline
export function scoreBits(buffer: usize, i: u32): u32 {
  return load<u32>(buffer + ((<usize>i) << 3), 4);
}

@inline
export function get(buffer: usize, i: i32): u64 {
  return load<u64>(buffer + ((<usize>i) << 3));
}

@inline
export function set(buffer: usize, i: i32, value: u64): void {
  store<u64>(buffer + ((<usize>i) << 3), value);
}
