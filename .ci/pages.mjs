// `npm run docs`: README and every other page of Markdown as HTML pages under build/pages (or `--out DIR`); typedoc adds the
// API reference. No page asks for anything from outside: the style is inside, scripts are forbidden but for the one that
// sorts tables (fuzz/report/html.ts), and links between documents lead to pages. Raw HTML in Markdown is shown as text.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import MarkdownIt from 'markdown-it';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const named = process.argv.indexOf('--out');
const out = named < 0 ? join(root, 'build', 'pages') : process.argv[named + 1];
const { page, text } = await import(join(root, 'dist/fuzz/report/html.js'));
const markdown = new MarkdownIt({ html: false, linkify: false });

/** Paths of all pages, relative to the root. @returns {string[]} */
function pages(folder = '') {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (/^(\.|node_modules$|build|dist$)/.test(entry.name)) return [];
    if (entry.isDirectory()) return pages(path);
    return entry.name.endsWith('.md') ? [path] : [];
  });
}

/** README.md is the index of its folder. */
function htmlPath(/** @type {string} */ path) {
  return path.replace(/README\.md$/, 'index.html').replace(/\.md$/, '.html');
}

/** Headings can be linked to. @param {string} title */
function slug(title) {
  return title
    .toLowerCase()
    .replace(/[^\w\- ]/g, '')
    .trim()
    .replace(/ /g, '-');
}

markdown.renderer.rules.heading_open = (tokens, index) => {
  const title = tokens[index + 1].content;
  return `<${tokens[index].tag} id="${text(slug(title))}">`;
};
markdown.renderer.rules.table_open = () => '<div class="wide"><table>';
markdown.renderer.rules.table_close = () => '</table></div>';

/** A link to a page, to a folder of one, or to a source, which is named and not linked. */
function target(/** @type {string} */ from, /** @type {string} */ link) {
  if (/^(https?:|#)/.test(link)) return link;
  const [path, anchor] = link.split('#');
  let to = normalize(join(dirname(from), path));
  if (existsSync(join(root, to, 'README.md'))) to = join(to, 'README.md');
  if (!existsSync(join(root, to))) throw new Error(`${from}: links to ${link}, which is not there`);
  if (!to.endsWith('.md')) return null;
  const url = relative(dirname(htmlPath(from)), htmlPath(to));
  return anchor === undefined ? url : `${url}#${anchor}`;
}

function render(/** @type {string} */ path) {
  const tokens = markdown.parse(readFileSync(join(root, path), 'utf8'), {});
  for (const { children } of tokens) {
    let dropped = false;
    for (const token of children ?? []) {
      if (token.type === 'link_open') {
        const url = target(path, token.attrGet('href') ?? '');
        dropped = url === null;
        if (dropped) token.hidden = true;
        else token.attrSet('href', url);
        if (dropped) Object.assign(token, { type: 'text', content: '' });
      } else if (token.type === 'link_close' && dropped) {
        Object.assign(token, { type: 'text', content: '' });
        dropped = false;
      }
    }
  }
  const title = tokens.find(({ type }) => type === 'inline')?.content ?? path;
  const up = relative(dirname(path), '.') || '.';
  const home = `<nav class="soft"><a href="${up}/index.html">kvproof</a> /
<a href="${up}/fuzz/docs/index.html">documents</a> / ${text(path)}</nav>`;
  const body = markdown.renderer.render(tokens, markdown.options, {});
  return page(title, `${home}\n<main>${body}</main>`);
}

rmSync(out, { recursive: true, force: true });
const all = pages();
for (const path of all) {
  const file = join(out, htmlPath(path));
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, render(path));
}
console.log(`${all.length} pages in ${relative(root, out)}`);
