// Plain text of off-policy evaluations.

import type { Estimate } from './ope-intervals.ts';
import { type BanditComparison, ESTIMATORS } from './ope-open-bandit.ts';
import type { ServingLogEvaluation } from './ope-serving-log.ts';

export function banditTable(results: readonly BanditComparison[]): string {
  return results.map(banditText).join('\n\n');
}

function banditText(result: BanditComparison): string {
  const { campaign, from, of, rows, items, truth, logged, truncated, estimates, covered, errors, warnings } =
    result;
  const lines = [
    `${campaign}: value of ${of} (clicks per shown item) from the log of ${from}, ${rows} rows, ${items} items`,
    `  weights: mean ${logged.mean.toFixed(3)}, largest ${logged.max.toPrecision(4)}; ${truncated.rows} cut to ${truncated.at.toFixed(1)}, then mean ${estimates.weights.mean.toFixed(3)}, effective rows ${estimates.weights.effectiveSize.toFixed(0)}`,
  ];
  if (truth) lines.push(`  ${`truth (log of ${of})`.padEnd(24)}${estimateText(truth)}`);
  for (const name of ESTIMATORS) {
    const estimate = estimates[name];
    if (estimate === null) continue;
    const verdict = covered === null ? '' : covered[name] ? '   covers the truth' : '   MISSES the truth';
    const off = errors === null ? '' : `, off by ${errors[name].toFixed(1)} standard errors of both`;
    lines.push(`  ${name.toUpperCase().padEnd(24)}${estimateText(estimate)}${verdict}${off}`);
  }
  if (estimates.model !== null)
    lines.push(`  ${'reward model alone'.padEnd(24)}${estimates.model.toFixed(5)}`);
  for (const warning of warnings) lines.push(`  warning: ${warning}`);
  return lines.join('\n');
}

export function estimateText({ value, low, high }: Estimate): string {
  return `${value.toFixed(5)}  [${low.toFixed(5)}, ${high.toFixed(5)}]`;
}

export function servingTable(result: ServingLogEvaluation): string {
  const { counts, weights, depth, value, heads, warnings } = result;
  const joined = counts.events.byToken + counts.events.byPost;
  const lines = [
    `${counts.usable} of ${counts.records} records: explored first pages${weights ? ' with their pool' : ''}, ${value.users} users, ${joined} engagements joined`,
    `value of a request, first ${depth} positions`,
    `  ${'as logged'.padEnd(26)}${estimateText(value.current)}`,
  ];
  if (weights !== null) {
    lines.push(`  ${'new weights, SNIPS'.padEnd(26)}${estimateText(value.snips)}`);
    lines.push(`  ${'new weights, DR'.padEnd(26)}${estimateText(value.dr)}`);
    lines.push(`  ${'difference, SNIPS'.padEnd(26)}${estimateText(value.lift.snips)}`);
    lines.push(`  ${'difference, DR'.padEnd(26)}${estimateText(value.lift.dr)}`);
    lines.push(`  ${'one position at a time'.padEnd(26)}${estimateText(value.oneStep)}`);
  }
  for (const [head, { current, lift }] of Object.entries(heads)) {
    const change = weights === null ? '' : `   difference ${estimateText(lift)}`;
    lines.push(`  ${`${head} a request`.padEnd(26)}${estimateText(current)}${change}`);
  }
  if (weights !== null) {
    lines.push('  position  requests  as logged  new weights  effective requests  largest weight');
    for (const { position, requests, current, snips, effectiveSize, maxWeight } of value.positions) {
      const cells = [
        String(position + 1).padStart(8),
        String(requests).padStart(8),
        current.toFixed(4).padStart(9),
        snips.toFixed(4).padStart(11),
        effectiveSize.toFixed(0).padStart(18),
        maxWeight.toPrecision(3).padStart(14),
      ];
      lines.push(`  ${cells.join('  ')}`);
    }
  }
  for (const warning of warnings) lines.push(`  warning: ${warning}`);
  return lines.join('\n');
}
