// study.ts - the tables of the studies for a terminal.

import type { AccuracyRow } from '../studies/accuracy.js';
import type { AllocationRow } from '../studies/allocation.js';
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

/** Rows of a table that are printed; a terminal is not where 400 rows are read. */
const TERMINAL_ROWS = 60;

function scientific(x: number | undefined): string {
  return x === undefined ? '-' : x === 0 ? '0' : x.toExponential(2);
}
