// terminal.ts - the report of a run for people: findings, what was looked at, the verdict last.

import pc from 'picocolors';
import type { Campaign } from '../campaign/campaign.js';
import { cellCoverage } from '../campaign/cell-coverage.js';
import { CASE_SPACE } from '../campaign/plan.js';
import type { ReportedFinding } from '../campaign/reported-finding.js';
import type { Coverage, PropertyTally, Tally } from '../campaign/tally.js';
import type { Hello } from '../campaign/worker-process.js';
import { count, failureReport, grouped, significant } from './failure.js';

export function startLines(kernel: string, { device, capabilities }: Hello): string[] {
  const checked = capabilities.checked ? ', every access checked' : '';
  const where = `${device.name}, ${device.sm}, ${device.driver}${checked}`;
  return [`kernel ${kernel} (${capabilities.name} on ${where})`];
}

export function campaignReport(campaign: Campaign, tally: Tally): string[] {
  return [
    ...campaign.findings.flatMap((finding) => [...failureReport(finding), '']),
    ...breakageLines(campaign),
    ...propertyTable(tally.properties),
    '',
    ...coverageLines(tally.coverage),
    ...cellLines(campaign),
    '',
    ...closing(campaign, tally),
  ];
}

function breakageLines({ pool }: Campaign): string[] {
  const first = pool.broken[0];
  if (first === undefined) return [];
  const where = `case ${first.planned.hash} (${first.planned.origin})`;
  return [
    `${pc.red(pc.bold('BROKEN'))} ${count(pool.broken.length, 'case')} could not be judged: ` +
      `${where}: ${first.message}`,
    '',
  ];
}

function propertyTable(rows: readonly PropertyTally[]): string[] {
  const cells = rows.map((row) => [
    row.name,
    String(row.cases),
    String(row.pass),
    String(row.fail),
    String(row.unsupported),
    grouped(row.elements),
    row.largestRatio === 0 ? '-' : significant(row.largestRatio),
  ]);
  const head = ['property', 'cases', 'pass', 'fail', 'unsupported', 'elements', 'error/bound'];
  const widths = head.map((title, i) =>
    Math.max(title.length, ...cells.map((row) => row[i].length)),
  );
  const line = (row: string[]) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ');
  return [
    pc.dim(line(head)),
    ...cells.map((row, i) => (rows[i].fail > 0 ? pc.red(line(row)) : line(row))),
  ];
}

/** Missing pairs that are shown; the JSON has them all. */
const MISSING_SHOWN = 6;

function cellLines({ pool, hello }: Campaign): string[] {
  const { reached, total, pairs } = cellCoverage(pool.records, hello.capabilities, CASE_SPACE);
  const shown = pairs.missing.slice(0, MISSING_SHOWN).join('; ');
  const more = pairs.missing.length > MISSING_SHOWN ? '; ...' : '';
  const without = shown === '' ? '' : pc.dim(`, without ${shown}${more}`);
  return [
    `cells     ${grouped(reached)} of ${grouped(total)}, ` +
      `pairs ${grouped(pairs.reached)} of ${grouped(pairs.total)}${without}`,
  ];
}

function coverageLines(coverage: Coverage): string[] {
  return Object.entries(coverage).map(([trait, values]) => {
    const parts = Object.entries(values)
      .sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }))
      .map(([value, cases]) => `${value} ${pc.dim(`x${cases}`)}`);
    return `${trait.padEnd(8)}  ${parts.length === 0 ? '-' : parts.join(', ')}`;
  });
}

function closing(campaign: Campaign, tally: Tally): string[] {
  const { pool, planned, findings } = campaign;
  const ran = pool.records.length + pool.broken.length;
  const seconds = (campaign.elapsedMs / 1000).toFixed(1);
  const amount =
    `${count(tally.cases, 'case')} ran, ${grouped(tally.elements)} elements compared, ` +
    `${seconds} s, seed ${campaign.seed}`;
  const closest =
    tally.largestRatio === null
      ? []
      : [
          `largest error/bound ${significant(tally.largestRatio.ratio)} ` +
            `(${tally.largestRatio.property}, case ${tally.largestRatio.case})`,
        ];
  const cut: Record<typeof pool.stopped, string[]> = {
    finished: [],
    time: [`the time ran out: planned ${planned} cases, ran ${ran}`],
    interrupt: [`interrupted: planned ${planned} cases, ran ${ran}`],
    loss: [`the kernel could not be opened any more after ${ran} of ${planned} cases`],
  };
  const { text, isGreen } = verdictText(findings, tally, campaign);
  const verdict = pc.bold(text);
  return [amount, ...closest, ...cut[pool.stopped], isGreen ? pc.green(verdict) : pc.red(verdict)];
}

export function verdictText(
  findings: readonly ReportedFinding[],
  tally: Tally,
  { pool }: Pick<Campaign, 'pool'>,
): { text: string; isGreen: boolean } {
  const red = findings.filter(({ isNew }) => isNew).length;
  const known = findings.length - red;
  const apart = known === 0 ? '' : `, ${known} known from the baseline`;
  const isCut = pool.broken.length > 0 || pool.stopped === 'loss' || pool.stopped === 'interrupt';
  if (red > 0) return { text: `${count(red, 'finding')}${apart}`, isGreen: false };
  if (tally.cases === 0) return { text: 'no case ran, which is not a pass', isGreen: false };
  if (isCut) return { text: `the run is incomplete${apart}`, isGreen: false };
  return { text: `nothing found${apart}`, isGreen: true };
}
