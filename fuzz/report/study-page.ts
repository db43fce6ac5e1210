// study-page.ts - one study as one HTML file that needs no network: question and design, figures as
// inline SVG, the table, and the result as JSON inside.

export interface StudyPage {
  readonly title: string;
  /** The header of the study's file: question, design, what would refute it. */
  readonly statement: string;
  /** Facts of the run: kernel, device, commit, seed, time. */
  readonly facts: readonly (readonly [string, string])[];
  readonly figures: readonly { readonly name: string; caption: string; svg: string }[];
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** result.json as it is. */
  readonly json: string;
}

const STYLE = `
body { font: 15px/1.5 Helvetica, Arial, sans-serif; color: #222; max-width: 70rem;
  margin: 2rem auto; padding: 0 1rem; }
figure { margin: 2rem 0; overflow-x: auto; }
figure svg { max-width: 100%; height: auto; }
figcaption { color: #555; max-width: 45rem; }
table { border-collapse: collapse; font-size: 13px; }
th, td { padding: 0.2rem 0.7rem; text-align: right; border-bottom: 1px solid #e5e5e5; }
th { text-align: left; position: sticky; top: 0; background: white; cursor: pointer; }
dl { display: grid; grid-template-columns: max-content auto; gap: 0.1rem 1rem; }
dt { color: #555; } dd { margin: 0; }
p.statement { white-space: pre-line; max-width: 50rem; }`;

/** Sorts the table by the column that is clicked: numbers as numbers. */
const SCRIPT = `
for (const th of document.querySelectorAll('th')) th.onclick = () => {
  const body = th.closest('table').tBodies[0], i = th.cellIndex;
  const key = (row) => row.cells[i].textContent;
  const order = th.dataset.order = th.dataset.order === '1' ? '-1' : '1';
  const compare = (a, b) => (a - b) || String(a).localeCompare(String(b), 'en', { numeric: true });
  body.append(...[...body.rows].sort((a, b) => order * compare(key(a), key(b))));
};`;

export function studyPage(page: StudyPage): string {
  const facts = page.facts.map(
    ([name, value]) => `<dt>${escaped(name)}</dt><dd>${escaped(value)}</dd>`,
  );
  const figures = page.figures.map(
    ({ name, caption, svg }) =>
      `<figure id="${escaped(name)}">${svg}<figcaption>${escaped(caption)}</figcaption></figure>`,
  );
  const row = (tag: string, cells: readonly string[]) =>
    `<tr>${cells.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join('')}</tr>`;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escaped(page.title)}</title>
<style>${STYLE}</style>
<h1>${escaped(page.title)}</h1>
<p class="statement">${escaped(page.statement)}</p>
<dl>${facts.join('')}</dl>
${figures.join('\n')}
<h2>Table</h2>
<table><thead>${row('th', page.header)}</thead>
<tbody>
${page.rows.map((cells) => row('td', cells)).join('\n')}
</tbody></table>
<script type="application/json" id="result">${page.json.replaceAll('<', '\\u003c')}</script>
<script>${SCRIPT}</script>
</html>
`;
}

function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
