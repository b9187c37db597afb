// `npm run sbom`: what the service is made of, as a CycloneDX document from the lockfile. Not committed.
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { type Command, runCommand, textFlag } from './import/command.ts';

const HELP = `
usage: npm run sbom [-- flags]

  --out FILE    where the CycloneDX document goes (default sbom.json)
  --dev         with what only tests and tools need
  --json FILE   the number of components
  --help
`;

interface Bom {
  components: { 'bom-ref': string; properties?: { name: string; value: string }[] }[];
  dependencies: { ref: string; dependsOn: string[] }[];
}

const command: Command = {
  help: HELP,
  flags: { out: { type: 'string' }, dev: { type: 'boolean' } },
  async run(flags) {
    const out = textFlag(flags, 'out') ?? 'sbom.json';
    const args = ['sbom', '--sbom-format', 'cyclonedx', '--package-lock-only'];
    const { stdout } = await promisify(execFile)('npm', args, { maxBuffer: 256 << 20 });
    const all = JSON.parse(stdout) as Bom;
    const bom = flags.dev === true ? all : withoutTools(all);
    await writeFile(out, `${JSON.stringify(bom, null, 2)}\n`);
    return { file: out, components: bom.components.length };
  },
};

/** npm's own `--omit dev` also leaves out what a tool may use beside the service, such as @opentelemetry/api. */
function withoutTools(bom: Bom): Bom {
  const isTool = ({ properties = [] }: Bom['components'][number]) =>
    properties.some(({ name, value }) => name === 'cdx:npm:package:development' && value === 'true');
  const tools = new Set(bom.components.filter(isTool).map((component) => component['bom-ref']));
  return {
    ...bom,
    components: bom.components.filter((component) => !tools.has(component['bom-ref'])),
    dependencies: bom.dependencies
      .filter(({ ref }) => !tools.has(ref))
      .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((other) => !tools.has(other)) })),
  };
}

if (import.meta.main) await runCommand(command);
