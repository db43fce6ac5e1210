// study.ts - the tables of the studies for a terminal.

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
