// junit.ts - a run as a JUnit file: one test case for each property. A property that judged nothing
// is "skipped", never passed. A run in which no case ran, that was interrupted or lost its kernel
// has an error, and so has the file that stands there until the run has ended: a gate which reads
// only this file never sees green after a crash.

import type { Campaign } from '../campaign/campaign.js';
import type { Tally } from '../campaign/tally.js';
import { failureReport } from './failure.js';

export function junitXml(campaign: Campaign, tally: Tally): string {
  const { findings, kernel, pool } = campaign;
  const cases = tally.properties.map((row) => {
    const own = findings.filter(({ finding, isNew }) => isNew && finding.property === row.name);
    const failures = own.map((reported) => {
      const { signature, message } = reported.finding;
      const text = escaped(failureReport(reported).join('\n'));
      const attributes = `type="${escaped(signature)}" message="${escaped(message)}"`;
      return `<failure ${attributes}>${text}</failure>`;
    });
    const body = failures.length > 0 ? failures.join('') : row.cases === 0 ? '<skipped/>' : '';
    const attributes = `classname="${escaped(kernel)}" name="${escaped(row.name)}"`;
    return `    <testcase ${attributes}>${body}</testcase>`;
  });
  const troubles = pool.broken.map(({ message }) => message);
  if (tally.cases === 0) troubles.push('no case ran');
  if (pool.loss !== null) troubles.push(pool.loss.message);
  if (pool.stopped === 'interrupt') troubles.push('interrupted');
  const errors = troubles.map((message) => errorCase(kernel, message));
  const red = findings.filter(({ isNew }) => isNew).length;
  const skipped = tally.properties.filter((row) => row.cases === 0).length;
  const counts =
    `tests="${cases.length + errors.length}" failures="${red}" errors="${errors.length}" ` +
    `skipped="${skipped}" time="${(campaign.elapsedMs / 1000).toFixed(3)}"`;
  return suites(kernel, counts, [...cases, ...errors]);
}

/** Of a run that says nothing: one error. */
export function junitError(kernel: string, message: string): string {
  const counts = 'tests="1" failures="0" errors="1" skipped="0" time="0"';
  return suites(kernel, counts, [errorCase(kernel, message)]);
}

function errorCase(kernel: string, message: string): string {
  return (
    `    <testcase classname="${escaped(kernel)}" name="campaign">` +
    `<error message="${escaped(message)}"/></testcase>`
  );
}

function suites(kernel: string, counts: string, cases: readonly string[]): string {
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="kvproof" ${counts}>`,
    `  <testsuite name="${escaped(kernel)}" ${counts}>`,
    ...cases,
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n');
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
};

/** XML 1.0 cannot hold most control characters at all, terminal colours among them. */
function escaped(text: string): string {
  let kept = '';
  for (const character of text.replace(
    new RegExp(`${String.fromCharCode(27)}\\[[\\d;]*m`, 'g'),
    '',
  )) {
    const code = character.codePointAt(0) as number;
    if (code >= 32 || code === 10 || code === 9) kept += ENTITIES[character] ?? character;
  }
  return kept;
}
