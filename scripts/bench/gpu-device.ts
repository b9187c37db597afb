// Which device the figures are of, and whether they are any: an adapter in software, or the CPU in a device's place,
// proves that the path works and says nothing about a GPU.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Provider } from '../../src/ranking/onnx-session.ts';

export interface BenchDevice {
  name: string;
  /** False: its times are no figures of a GPU, and no page shows them. */
  real: boolean;
}

const NVIDIA = '/proc/driver/nvidia/gpus';
const SOFTWARE_DRIVERS = /swiftshader|lvp_icd|lavapipe/i;

export function benchDevice(provider: Provider): BenchDevice {
  if (provider === 'cpu') return { name: 'the CPU in the place of a device', real: false };
  const driver = `${process.env.VK_DRIVER_FILES ?? ''} ${process.env.VK_ICD_FILENAMES ?? ''}`;
  if (provider === 'webgpu' && SOFTWARE_DRIVERS.test(driver)) {
    return { name: 'an adapter in software', real: false };
  }
  const names = nvidiaGpus();
  if (names.length > 0) return { name: [...new Set(names)].join(', '), real: true };
  // CUDA runs on nothing else; WebGPU may have found a GPU of another make, or an adapter in software.
  if (provider === 'cuda') return { name: 'an NVIDIA GPU', real: true };
  const node = existsSync('/dev/dri') && readdirSync('/dev/dri').some((entry) => entry.startsWith('renderD'));
  if (node || process.platform !== 'linux') return { name: 'a GPU that names itself nowhere', real: true };
  return { name: 'an adapter in software', real: false };
}

function nvidiaGpus(): string[] {
  if (!existsSync(NVIDIA)) return [];
  return readdirSync(NVIDIA).flatMap((gpu) => {
    const model = /^Model:\s*(.+)$/m.exec(readFileSync(join(NVIDIA, gpu, 'information'), 'utf8'));
    return model ? [model[1].trim()] : [];
  });
}
