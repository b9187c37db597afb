import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compilePlan } from '../../../src/features/feature-schema.ts';
import { LOG_COLUMNS } from '../../../src/features/post-features.ts';
import { BLOCK_ROWS, ROW_LOGS, SimilarityKernel } from '../../../src/features/similarity-kernel.ts';

const kernel = new SimilarityKernel(compilePlan(['post_age@1']), LOG_COLUMNS);

/** Bits of the kernel's logarithms, and of Math.log's. */
function both(numbers: readonly number[]): [found: BigInt64Array, expected: BigInt64Array] {
  kernel.logs.fill(1);
  kernel.logs.set(numbers);
  kernel.log(BLOCK_ROWS);
  const bits = (values: Float64Array) => new BigInt64Array(values.buffer);
  return [bits(kernel.logs.slice(0, numbers.length)), bits(Float64Array.from(numbers, Math.log))];
}

const anyBits = fc.bigInt({ min: 0x0010_0000_0000_0000n, max: 0x7fef_ffff_ffff_ffffn }).map((bits) => {
  return new Float64Array(BigInt64Array.of(bits).buffer)[0];
});
const count = fc.double({ min: 1, max: 1e12, noNaN: true });
const nearOne = fc.double({ min: 1 - 2 ** -18, max: 1 + 2 ** -18, noNaN: true });
const powerOfTwo = fc.integer({ min: -1022, max: 1023 }).map((power) => 2 ** power);

describe('logarithms in WebAssembly', () => {
  it('are those of Math.log, bit for bit, for every positive normal number', () => {
    const numbers = fc.array(
      fc.oneof(
        anyBits,
        count,
        nearOne,
        powerOfTwo,
        fc.nat().map((n) => 1 + n),
      ),
      {
        minLength: 1,
        maxLength: BLOCK_ROWS * ROW_LOGS,
      },
    );
    fc.assert(
      fc.property(numbers, (values) => {
        const [found, expected] = both(values);
        expect(found).toEqual(expected);
      }),
      { numRuns: 400 },
    );
  });

  it('are exact at the edges of their cases', () => {
    const edges = [
      1,
      2,
      0.5,
      1 + 2 ** -52,
      1 - 2 ** -53,
      Math.SQRT2,
      Math.SQRT1_2,
      2 ** -1022,
      Number.MAX_VALUE,
    ];
    const around = edges.flatMap((edge) => [edge, edge * (1 + 2 ** -20), edge * (1 - 2 ** -20)]);
    const normal = around.filter((x) => x >= 2 ** -1022 && x <= Number.MAX_VALUE);
    const [found, expected] = both(normal);
    expect(found).toEqual(expected);
  });
});
