import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { runCommand } from '../setup/child-process.ts';
import { softwareGpu } from '../setup/gpu-software.ts';
import type { Parity } from './gpu-parity-process.ts';

/** float32 sums in another order, of some hundred products each; TF32 units would need DEVICE_TOLERANCE. */
const FROM_CPU = 1e-5;
/** The kernels of another height may sum in another order too. */
const FROM_ALONE = 1e-6;
const PROCESS = fileURLToPath(new URL('./gpu-parity-process.ts', import.meta.url));
const MODELS = fileURLToPath(new URL('../../models', import.meta.url));
const CACHE = fileURLToPath(new URL('../../.cache/servers', import.meta.url));

describe('the device path on a GPU in software', () => {
  it('gives 32 candidates the probabilities and the order of the CPU, alone and padded as in a batch', async (context) => {
    const env = await softwareGpu(CACHE).catch((error) => {
      console.log(`skipped: no software GPU: ${error.message}`);
      context.skip();
      throw error;
    });
    const args = ['--no-warnings', PROCESS, MODELS, 'webgpu'];
    const output = await runCommand(process.execPath, args, { env, timeoutMs: 120_000 });
    const found: Parity[] = JSON.parse(output.trim().split('\n').at(-1)!);
    expect(found.map(({ model }) => model.split('@')[0])).toEqual(['ranker', 'ranker-light']);
    for (const { fromCpu, misplaced, fromAlone, batches } of found) {
      expect(fromCpu).toBeLessThanOrEqual(FROM_CPU);
      expect(misplaced).toBe(0);
      expect(fromAlone).toBeLessThanOrEqual(FROM_ALONE);
      expect(batches).toEqual([{ requests: 3, rows: 32, bucket: 32 }]);
    }
  }, 150_000);

  it('is refused by name where there is no adapter', async () => {
    const env = { VK_DRIVER_FILES: '/nowhere.json', VK_ICD_FILENAMES: '/nowhere.json' };
    const args = ['--no-warnings', PROCESS, MODELS, 'webgpu'];
    const refused = runCommand(process.execPath, args, { env, timeoutMs: 120_000 });
    await expect(refused).rejects.toThrow(/execution provider webgpu cannot run ranker@\d+: .*adapter/);
  });
});
