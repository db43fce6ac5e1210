// replay.ts - the report of stored cases that were run again: a line for a pass, and for a failure
// the same order as everywhere, with a word on whether it is the failure that was stored.

import pc from 'picocolors';
import type { StoredCase } from '../campaign/case-file.js';
import type { CaseOutcome } from '../campaign/outcome.js';
import { caseText, count, grouped, worstText } from './failure.js';

export function replayLines(
  { path, case: c, finding }: StoredCase,
  hash: string,
  kernel: string,
  outcome: Exclude<CaseOutcome, { kind: 'lost' }>,
): string[] {
  const where = `${kernel}, case ${hash} (${path})`;
  if (outcome.kind === 'broken') return [`${pc.red('BROKEN')} ${where}: ${outcome.message}`];
  const failures = outcome.verdicts.flatMap(({ property, verdict }) =>
    verdict.kind === 'fail' ? [{ property, verdict }] : [],
  );
  if (failures.length > 0) {
    const same = failures.some(({ verdict }) => verdict.signature === finding?.signature);
    return [
      ...failures.flatMap(({ property, verdict }) => [
        `${pc.red(pc.bold('FAIL'))} ${pc.bold(`${property} on ${where}`)}`,
        `  ${verdict.signature}: ${verdict.message}`,
        ...(verdict.worst === undefined ? [] : [`  worst:  ${worstText(verdict.worst)}`]),
      ]),
      `  case:   ${caseText(c)}`,
      ...(finding === null
        ? []
        : [same ? '  the same failure as stored' : `  stored was ${finding.signature}, not these`]),
    ];
  }
  const passes = outcome.verdicts.flatMap(({ verdict }) =>
    verdict.kind === 'pass' ? [verdict] : [],
  );
  if (passes.length === 0) {
    const [first] = outcome.verdicts;
    const reason =
      first?.verdict.kind === 'unsupported' ? first.verdict.reason : 'nothing to judge';
    return [`${pc.yellow('unsupported')} ${where}: ${reason}`];
  }
  const elements = passes.reduce((sum, pass) => sum + pass.elements, 0);
  return [`${pc.green('pass')} ${where}: ${grouped(elements)} elements compared`];
}

export function replaySummary(counts: {
  pass: number;
  fail: number;
  unsupported: number;
  broken: number;
}): string {
  const total = counts.pass + counts.fail + counts.unsupported + counts.broken;
  const parts = Object.entries(counts).filter(([kind, n]) => n > 0 || kind === 'pass');
  return `${count(total, 'case')}: ${parts.map(([kind, n]) => `${n} ${kind}`).join(', ')}`;
}
