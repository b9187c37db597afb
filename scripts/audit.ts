// `npm run audit`: known vulnerabilities of what is installed for production, from the registry. Where the registry
// cannot be asked the check is skipped, and says why; what it finds of severity high or critical fails it.
import { execFile } from 'node:child_process';
import { type Command, runCommand } from './import/command.ts';

const HELP = `
usage: npm run audit [-- flags]

Asks the npm registry for known vulnerabilities of the production dependencies in package-lock.json.
Fails on severity high or critical. Without a registry it is skipped, with the reason.

  --json FILE   the counts by severity
  --help
`;

const TIMEOUT_MS = 60_000;
const FAILING = ['high', 'critical'] as const;

interface AuditReport {
  metadata?: { vulnerabilities?: Record<string, number> };
  error?: { code?: string; summary?: string };
  message?: string;
}

/** Standard output of npm audit; it ends with 1 when something was found, which is no failure of the question. */
function askNpm(): Promise<string> {
  return new Promise((resolve) => {
    const args = ['audit', '--omit=dev', '--json', '--fetch-retries=0'];
    execFile('npm', args, { timeout: TIMEOUT_MS, maxBuffer: 64 << 20 }, (_error, stdout) => resolve(stdout));
  });
}

const command: Command = {
  help: HELP,
  flags: {},
  async run() {
    const out = await askNpm();
    let report: AuditReport;
    try {
      report = JSON.parse(out) as AuditReport;
    } catch {
      return skipped('npm gave no answer');
    }
    const counts = report.metadata?.vulnerabilities;
    if (!counts) return skipped(report.error?.summary || report.message || 'the registry gave no answer');
    const bad = FAILING.filter((severity) => (counts[severity] ?? 0) > 0);
    if (bad.length > 0) {
      throw new Error(
        `known vulnerabilities: ${bad.map((severity) => `${counts[severity]} ${severity}`).join(', ')}; npm audit has the details`,
      );
    }
    return { skipped: null, vulnerabilities: counts };
  },
};

function skipped(reason: string): object {
  const line = reason.split('\n')[0];
  process.stderr.write(`audit skipped: ${line}\n`);
  return { skipped: line, vulnerabilities: null };
}

if (import.meta.main) await runCommand(command);
