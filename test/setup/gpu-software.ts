// A GPU in software, for tests of the device path where there is none: SwiftShader, a Vulkan adapter that Debian's
// chromium-common carries beside a Vulkan loader. For proofs, not for figures.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { unpackDebianPackages } from './debian-package.ts';

const FOLDER = 'usr/lib/chromium';
const FILES = ['libvulkan.so.1', 'libvk_swiftshader.so', 'vk_swiftshader_icd.json'];

/**
 * Environment of a process whose WebGPU provider runs on it: the first of a Chromium that is installed, and Debian's
 * package unpacked into `cacheDir`. Rejects with the reason where neither can be had.
 */
export async function softwareGpu(cacheDir: string): Promise<Record<string, string>> {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error(`no software GPU for ${process.platform}-${process.arch}`);
  }
  const complete = (root: string) => FILES.every((file) => existsSync(join(root, FOLDER, file)));
  let root = '/';
  if (!complete(root)) {
    ({ root } = await unpackDebianPackages(cacheDir, 'chromium', ['chromium-common'], false));
    if (!complete(root)) throw new Error('chromium-common carries no SwiftShader any more');
  }
  const folder = join(root, FOLDER);
  const driver = join(folder, 'vk_swiftshader_icd.json');
  return { LD_LIBRARY_PATH: folder, VK_DRIVER_FILES: driver, VK_ICD_FILENAMES: driver };
}
