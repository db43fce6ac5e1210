// html.ts - a page as text. Everything that comes from data goes through `text`, so that a kernel's
// name or message can never become markup or script, whoever wrote the journal.
//
// The page is one file: style and script are inside, and its policy (Content-Security-Policy)
// forbids everything from outside, so it looks the same offline in ten years.

import { createHash } from 'node:crypto';

export function text(value: string | number): string {
  return String(value).replace(/[&<>"'`]/g, (character) => `&#${character.charCodeAt(0)};`);
}

export interface Column {
  readonly title: string;
  /** Numbers stand on the right and are sorted as numbers. */
  readonly numeric?: boolean;
}

export interface Cell {
  /** Markup that was made from escaped text. */
  readonly html: string;
  /** What a column is sorted by; the text itself if absent. */
  readonly key?: number | string;
}

export function table(columns: readonly Column[], rows: readonly (readonly Cell[])[]): string {
  const head = columns.map(({ title, numeric }) => {
    const kind = numeric ? ' class="number"' : '';
    return `<th${kind}><button type="button">${text(title)}</button></th>`;
  });
  const body = rows.map((row) => {
    const cells = row.map(({ html, key }, i) => {
      const kind = columns[i].numeric ? ' class="number"' : '';
      const sorted = key === undefined ? '' : ` data-key="${text(key)}"`;
      return `<td${kind}${sorted} data-title="${text(columns[i].title)}">${html}</td>`;
    });
    return `<tr>${cells.join('')}</tr>`;
  });
  return `<div class="wide"><table class="sortable"><thead><tr>${head.join('')}</tr></thead>
<tbody>${body.join('\n')}</tbody></table></div>`;
}

/** JSON inside a page: `<` is written as an escape, so that no text can end the element. */
export function dataElement(id: string, value: unknown): string {
  const json = JSON.stringify(value)
    .replace(/</g, '\\u003c')
    .replace(/[\u2028\u2029]/g, ' ');
  return `<script type="application/json" id="${id}">${json}</script>`;
}

/** Sorts a table by the column whose title is pressed; a second press turns the order. */
const SCRIPT = `
for (const table of document.querySelectorAll('table.sortable')) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.addEventListener('click', () => {
    const up = head.getAttribute('aria-sort') !== 'ascending';
    heads.forEach((other) => other.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const key = (row) => row.cells[column].dataset.key ?? row.cells[column].textContent;
    const isNumber = head.classList.contains('number');
    const compare = (a, b) => isNumber ? key(a) - key(b) : key(a).localeCompare(key(b), 'en');
    const rows = [...table.tBodies[0].rows].sort((a, b) => up ? compare(a, b) : compare(b, a));
    table.tBodies[0].append(...rows);
  }));
}
for (const button of document.querySelectorAll('button.copy')) {
  button.addEventListener('click', () => navigator.clipboard?.writeText(button.dataset.text));
}`;

const STYLE = `
:root { --ink: #1d1d1f; --soft: #5f6368; --line: #dfe1e5; --red: #b3261e; --green: #137333;
  --amber: #8a5300; --paper: #fff; --band: #f6f7f9; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem; max-width: 66rem; color: var(--ink);
  background: var(--paper); font: 15px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; }
.soft { color: var(--soft); } .number { text-align: right; font-variant-numeric: tabular-nums; }
.verdict { padding: .7rem 1rem; border-radius: .4rem; font-weight: 600; margin: 1rem 0;
  border-left: .4rem solid; background: var(--band); }
.red { color: var(--red); } .green { color: var(--green); } .amber { color: var(--amber); }
.tiles { display: grid; gap: .7rem; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }
.tile { background: var(--band); border-radius: .4rem; padding: .6rem .8rem; }
.tile b { display: block; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
.figures { display: grid; gap: 1.2rem;
  grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); }
figure { margin: 0; } svg { max-width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: .85rem; }
.wide { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { text-align: left; white-space: nowrap; }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 2px solid #0072b2; }
th[aria-sort="ascending"] button::after { content: " \\2191"; }
th[aria-sort="descending"] button::after { content: " \\2193"; }
code, pre { font: .85rem/1.45 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { background: var(--band); padding: .6rem; border-radius: .3rem; margin: .3rem 0;
  white-space: pre-wrap; overflow-wrap: anywhere; }
main pre { white-space: pre; overflow-x: auto; }
.finding { border: 1px solid var(--line); border-radius: .4rem; padding: .7rem 1rem;
  margin: .7rem 0; break-inside: avoid; }
.finding h3 { margin: 0; font-size: 1rem; overflow-wrap: anywhere; }
button.copy { float: right; margin: .6rem .3rem 0; font: inherit; font-size: .8rem;
  cursor: pointer; }
details > summary { cursor: pointer; }
@media (prefers-color-scheme: dark) { :root { color-scheme: light; } }
@media (max-width: 40rem) { body { padding: .8rem; } .figures { grid-template-columns: 1fr; } }
@media print { body { max-width: none; font-size: 11px; } button.copy { display: none; }
  details { display: block; } .verdict, .tile { border: 1px solid var(--line); }
  main pre { white-space: pre-wrap; }
  .wide { overflow: visible; } h2 { break-after: avoid; } figure { break-inside: avoid; } }`;

export function page(title: string, body: string): string {
  const hash = createHash('sha256').update(SCRIPT).digest('base64');
  const policy = [
    "default-src 'none'",
    "style-src 'unsafe-inline'",
    `script-src 'sha256-${hash}'`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${text(title)}</title>
<style>${STYLE}</style>
</head>
<body>
${body}
<script>${SCRIPT}</script>
</body>
</html>
`;
}
