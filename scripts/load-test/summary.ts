// The last lines of a load test on the terminal. Called by scripts/load-test.ts.
import { formatRate } from './campaign.ts';
import type { LoadTestReport } from './run.ts';

export function describeResult(report: LoadTestReport): string {
  const lines: string[] = [];
  const { knee } = report;
  if (knee !== null) {
    lines.push(
      knee.rate === null
        ? `knee: ${report.void.length > 0 ? 'not found' : 'no rate that was tried is sustained'}`
        : `knee: ${knee.bounded ? '' : 'at least '}${formatRate(knee.rate)}/s`,
    );
  }
  for (const hold of report.holds) {
    const recovered =
      hold.recoverySeconds === null ? 'not recovered' : `recovered after ${hold.recoverySeconds} s`;
    const share = `${(100 * hold.goodputOfKnee).toFixed(0)} % of the knee's goodput`;
    const degraded = hold.degraded > 0 ? `, ${hold.degraded} degraded` : '';
    const refused = hold.refused > 0 ? `, ${hold.refused} refused (p99 ${hold.refusedP99Ms} ms)` : '';
    lines.push(
      `held ${hold.factor}×: ${share}, p99 ${hold.latencyP99Ms ?? '–'} ms${degraded}${refused}, ${recovered}`,
    );
  }
  const causes = new Map<string, number>();
  for (const phase of report.phases) {
    for (const [cause, count] of Object.entries(phase.causes))
      causes.set(cause, (causes.get(cause) ?? 0) + count);
  }
  if (causes.size > 0) lines.push(`causes: ${[...causes].map(([cause, n]) => `${cause} ${n}`).join(', ')}`);
  lines.push(report.void.length > 0 ? 'VOID' : report.interrupted ? 'interrupted' : 'valid');
  return lines.join('\n');
}
