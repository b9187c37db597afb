// Compiles scan.ts to scan.wasm, which is committed beside it: `node src/candidates/index/scan-kernel/build.mjs`.
// A test compiles again and compares; nothing at run time needs the compiler.
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const source = fileURLToPath(new URL('scan.ts', import.meta.url));

/** The compiled module as bytes. Throws with the compiler's messages. */
export async function compileScanKernel() {
  const text = await readFile(source, 'utf8');
  let bytes;
  const { error, stderr } = await asc.main(
    [
      'scan.ts',
      '--outFile', 'scan.wasm',
      '--runtime', 'stub',
      '--optimizeLevel', '3',
      '--shrinkLevel', '0',
      '--noAssert',
      '--importMemory',
      '--sharedMemory',
      '--initialMemory', '1',
      '--maximumMemory', '65536',
      '--enable', 'simd', '--enable', 'relaxed-simd', '--enable', 'threads',
    ],
    {
      readFile: (name) => (name === 'scan.ts' ? text : null),
      writeFile: (name, contents) => {
        if (name === 'scan.wasm') bytes = contents;
      },
      listFiles: () => [],
    },
  );
  if (error || !bytes) throw new Error(`the scan kernel does not compile: ${error?.message} ${stderr}`);
  return Buffer.from(bytes);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const bytes = await compileScanKernel();
  await writeFile(fileURLToPath(new URL('scan.wasm', import.meta.url)), bytes);
  process.stdout.write(`scan.wasm: ${bytes.length} bytes\n`);
}
