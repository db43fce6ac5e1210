// study.ts - the tables of the studies for a terminal.

import type { AccuracyRow } from '../studies/accuracy.js';
import type { AllocationRow } from '../studies/allocation.js';
import type { BoundsTable } from '../studies/bounds.js';
import type { Spread } from '../studies/bounds-ratios.js';
import { RULES } from '../studies/bounds-sensitivity.js';
import type { PerplexityTable } from '../studies/perplexity.js';

/** Columns padded to the widest cell; text to the left, numbers to the right. */
export function tableLines(header: readonly string[], rows: readonly string[][]): string[] {
  const widths = header.map((name, i) =>
    Math.max(name.length, ...rows.map((row) => row[i].length)),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (/^[a-z]/i.test(cell) ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join('  ')
      .trimEnd();
  return [line(header), ...rows.map(line)];
}

export function perplexityLines(table: PerplexityTable, windows: number): string[] {
  const { base, rows, unsupported, tokens } = table;
  const cells = rows.map((row) => [
    row.kAxis,
    String(row.group),
    String(row.kBits),
    String(row.vBits),
    row.bitsPerValue.toFixed(2),
    row.nll.toFixed(5),
    row.ppl.toFixed(4),
    row.dppl.toFixed(4),
    row.dpplInterval === null ? '-' : row.dpplInterval.map((x) => x.toFixed(4)).join(' .. '),
  ]);
  const header = ['K axis', 'group', 'K', 'V', 'bits/value', 'nll', 'ppl', 'dppl', '95% of dppl'];
  const reasons = new Set(unsupported.map(({ reason }) => reason));
  return [
    `base (fp16): nll ${base.nll.toFixed(5)}, ppl ${base.ppl.toFixed(4)}, ` +
      `${windows} windows, ${tokens} scored tokens`,
    ...(rows.length === 0 ? [] : tableLines(header, cells)),
    ...(unsupported.length === 0 ? [] : [`${unsupported.length} caches unsupported:`]),
    ...[...reasons].map((reason) => `  ${reason}`),
  ];
}

/** The rows that answer the question, section by section; all of them are in result.json. */
export function accuracyLines(
  rows: readonly AccuracyRow[],
  unsupported: readonly { reason: string }[],
): string[] {
  const header = ['section', 'source', 'format', 'K', 'V', 'axis', 'group', 'tokens', 'part'];
  const numbers = ['bits/value', 'rel. error', 'middle 80%', 'SQNR dB', 'top-1'];
  const shown = rows.filter(
    ({ section, part }) => part === 'both' || section === 'kernel' || section === 'bits',
  );
  const cells = shown
    .slice(0, TERMINAL_ROWS)
    .map((row) => [
      row.section,
      row.source,
      row.format,
      String(row.kBits),
      String(row.vBits),
      row.kAxis,
      String(row.group),
      String(row.tokens),
      row.part,
      row.bitsPerValue.toFixed(2),
      scientific(row.relFro?.median),
      row.relFro === null ? '-' : `${scientific(row.relFro.low)} .. ${scientific(row.relFro.high)}`,
      row.sqnrDb === null ? '-' : row.sqnrDb.median.toFixed(1),
      row.top1 === null ? '-' : row.top1.median.toFixed(3),
    ]);
  const reasons = new Set(unsupported.map(({ reason }) => reason));
  return [
    ...tableLines([...header, ...numbers], cells),
    ...(shown.length > TERMINAL_ROWS ? [`... ${shown.length} rows, all in result.json`] : []),
    ...[...reasons].map((reason) => `unsupported: ${reason}`),
  ];
}

export function allocationLines(
  budgets: readonly { budget: number; best: readonly AllocationRow[] }[],
): string[] {
  const header = ['budget', 'handling', 'K', 'axis', 'group', 'V', 'group', 'bits/value'];
  const cells = budgets.flatMap(({ budget, best }) =>
    best.map(({ handling, variant, bitsPerValue, relFro, predicted }) => [
      String(budget),
      handling,
      String(variant.kBits),
      variant.kAxis,
      String(variant.group),
      String(variant.vBits),
      String(variant.vGroup),
      bitsPerValue.toFixed(2),
      scientific(relFro),
      scientific(predicted),
    ]),
  );
  return tableLines([...header, 'rel. error', 'predicted'], cells);
}

export function boundsLines({ sensitivity, ratios }: BoundsTable): string[] {
  const mistakes = sensitivity.map(({ perturbation, tokens, rows, moved, rejected }) => [
    perturbation,
    String(tokens),
    `${moved}/${rows}`,
    ...RULES.map((rule) => String(rejected[rule])),
  ]);
  const spread = (s: Spread | null) =>
    s === null ? ['-', '-', '-'] : [s.median, s.p99, s.max].map((x) => x.toPrecision(3));
  const kernels = ratios.map((r) => [
    r.distribution,
    String(r.rows),
    String(r.guarded),
    ...spread(r.l1),
    ...spread(r.l2),
    `${(100 * r.single).toFixed(1)} %`,
    scientific(r.toleranceL1),
    scientific(r.toleranceL2),
    String(r.violationsL1 + r.violationsL2),
  ]);
  const header = [
    'inputs',
    'rows',
    'guarded',
    'L1 median',
    'p99',
    'max',
    'L2 median',
    'p99',
    'max',
  ];
  return [
    'Rows of 40 that a rule rejects; moved: an element changed by an fp16 ulp or more',
    ...tableLines(['mistake', 'tokens', 'moved', ...RULES], mistakes),
    '',
    'Error of the kernel in units of its bounds',
    ...tableLines([...header, 'one value', 'L1/rms', 'L2/rms', 'outside'], kernels),
  ];
}

/** Rows of a table that are printed; a terminal is not where 400 rows are read. */
const TERMINAL_ROWS = 60;

function scientific(x: number | undefined): string {
  return x === undefined ? '-' : x === 0 ? '0' : x.toExponential(2);
}
