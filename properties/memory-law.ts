// The laws of memory that one run can show by itself: nothing outside a buffer is written, no input
// changes, and a checking emulator has nothing to report. redzone.ts judges the runs of the case by
// them, judgement.ts every run that a relation adds.

import type { EmulatorReport, Ran, SourceLine } from './kernel.js';
import type { Failure } from './property.js';

/** A word for signatures: lower case, no digits, no spaces. */
function slug(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^a-z]+/g, '-')
    .replace(/^-|-$/g, '');
}

/** The first law that a run broke, as a failure of `property`, or null. */
export function brokenLaw(property: string, ran: Ran): Failure | null {
  // What the host takes for unwritten may be a value that looks like the poison: see redzone.ts.
  const violation = ran.violations.find(({ kind }) => kind !== 'unwritten');
  if (violation !== undefined) {
    const { buffer, kind, offset, count } = violation;
    const what = kind === 'redzone' ? 'bytes written outside' : 'bytes changed in the input';
    return {
      kind: 'fail',
      signature: `${property}/${kind}-${slug(buffer)}`,
      message: `${buffer}: found ${count} ${what}, the first at ${offset}, required none`,
    };
  }
  return reported(property, ran);
}

/** The first report of a checking emulator, as a failure of `property`, or null. */
export function reported(property: string, ran: Ran): Failure | null {
  const [report] = ran.reports;
  if (report === undefined) return null;
  const place = report.file === '' ? '' : ` (${report.file}:${report.line})`;
  return {
    kind: 'fail',
    signature: `${property}/${slug(report.kind)}`,
    message: `the emulator reports ${report.kind}${place}: ${report.text}`,
    ...sourceOf(report),
  };
}

/** The line that a report names, if it names one. */
export function sourceOf(report: EmulatorReport | undefined): { source?: SourceLine } {
  if (report === undefined || report.file === '') return {};
  return { source: { file: report.file, line: report.line } };
}
