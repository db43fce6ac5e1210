// markdown.ts - text from a kernel or a case in Markdown: it stands for itself, whatever it holds.

/** HTML and Markdown are told from text; in a table a pipe ends a cell and a line break a row. */
export function escaped(text: string): string {
  const flat = text.replace(/\s+/g, ' ');
  return flat.replace(/[&<>"'`|*_[\]\\~#]/g, (character) => `&#${character.charCodeAt(0)};`);
}

export function code(text: string): string {
  return `<code>${escaped(text)}</code>`;
}
