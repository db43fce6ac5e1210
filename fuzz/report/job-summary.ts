// job-summary.ts - a run as Markdown for the page of a CI job (GITHUB_STEP_SUMMARY): verdict,
// findings with their command, sums. Texts of a kernel stand in code spans or are escaped, so that
// no name can become markup.

import type { Campaign } from '../campaign/campaign.js';
import type { ReportedFinding } from '../campaign/reported-finding.js';
import type { Tally } from '../campaign/tally.js';
import { caseText, grouped } from './failure.js';
import { localPath } from './local-path.js';
import { code, escaped } from './markdown.js';
import { verdictText } from './terminal.js';

export function jobSummary(campaign: Campaign, tally: Tally, exitCode: number): string {
  const { kernel, hello, seed, commit, findings, elapsedMs } = campaign;
  const mark = exitCode === 0 ? '✅' : '❌';
  const verdict = verdictText(findings, tally, campaign).text;
  const judged = tally.properties.filter(({ cases }) => cases > 0).length;
  return [
    `### ${mark} kvproof: ${verdict}`,
    '',
    `${code(kernel)} on ${escaped(hello.device.name)} (${escaped(hello.device.sm)}): ` +
      `${grouped(tally.cases)} cases, ${grouped(tally.elements)} elements, ` +
      `${judged} properties, ${(elapsedMs / 1000).toFixed(0)} s. ` +
      `Seed ${code(String(seed))}, commit ${code(commit.slice(0, 12))}.`,
    ...campaign.pool.broken.slice(0, 1).map(({ message }) => `\nNot judged: ${escaped(message)}`),
    ...(findings.length === 0 ? [] : ['', ...findingTable(findings)]),
    '',
  ].join('\n');
}

/** Of a run that says nothing. */
export function jobSummaryError(kernel: string, message: string): string {
  return `### ❌ kvproof: the run says nothing\n\n${code(kernel)}: ${escaped(message)}\n`;
}

function findingTable(findings: readonly ReportedFinding[]): string[] {
  const rows = findings.map(({ finding, isNew }) => {
    const { signature, message, source, replay } = finding;
    const place = source === null ? '' : `<br>${code(`${localPath(source.file)}:${source.line}`)}`;
    const what = `${code(signature)}<br>${escaped(message)}${place}`;
    const how = `${escaped(caseText(finding.case))}<br>${code(replay)}`;
    return `| ${isNew ? '**new**' : 'known'} | ${what} | ${how} |`;
  });
  return ['| | finding | smallest case |', '|---|---|---|', ...rows];
}
