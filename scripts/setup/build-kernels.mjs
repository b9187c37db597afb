// Compiles the AssemblyScript kernels to the .wasm that is committed beside each: `node scripts/setup/build-kernels.mjs`.
// Tests compile again and compare; nothing at run time needs the compiler.
import { readFile, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const source = (path) => fileURLToPath(new URL(`../../src/${path}`, import.meta.url));

/** Over the table's memory, which all threads share. */
export const SCAN_KERNEL = {
  source: source('candidates/index/scan-kernel/scan.ts'),
  memory: ['--importMemory', '--sharedMemory', '--initialMemory', '1', '--maximumMemory', '65536'],
};

/** With one page of its own. */
export const SIMILARITY_KERNEL = {
  source: source('features/similarity-kernel/similarity.ts'),
  memory: ['--initialMemory', '1', '--maximumMemory', '1'],
};

/** The same; grows with the pool. */
export const DPP_KERNEL = {
  source: source('rerank/dpp-kernel/dpp.ts'),
  memory: ['--initialMemory', '4', '--maximumMemory', '1024'],
};

/**
 * The compiled module as bytes: the source and what it imports from its folder, without an extension (with it the
 * compiler takes one file for two modules). Throws with the compiler's messages.
 */
export async function compileKernel({ source, memory }) {
  let bytes;
  const { error, stderr } = await asc.main(
    [
      basename(source),
      '--outFile',
      'kernel.wasm',
      '--runtime',
      'stub',
      '--optimizeLevel',
      '3',
      '--shrinkLevel',
      '0',
      '--noAssert',
      ...memory,
      '--enable',
      'simd',
      '--enable',
      'relaxed-simd',
      '--enable',
      'threads',
    ],
    {
      readFile: (name) => readFile(join(dirname(source), name), 'utf8').catch(absent),
      writeFile: (name, contents) => {
        if (name === 'kernel.wasm') bytes = contents;
      },
      listFiles: () => [],
    },
  );
  if (error || !bytes) throw new Error(`${source} does not compile: ${error?.message} ${stderr}`);
  return Buffer.from(bytes);
}

/** The compiler asks for one name after another and takes null for a file that is not there. */
function absent(error) {
  if (error.code === 'ENOENT') return null;
  throw error;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const kernel of [SCAN_KERNEL, SIMILARITY_KERNEL, DPP_KERNEL]) {
    const bytes = await compileKernel(kernel);
    const path = kernel.source.replace(/\.ts$/, '.wasm');
    await writeFile(path, bytes);
    process.stdout.write(`${path}: ${bytes.length} bytes\n`);
  }
}
