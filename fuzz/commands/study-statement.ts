// study-statement.ts - the header comment of a study's file as the text of its page, so that
// question, design and refutation are written once.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../campaign/package-root.js';

/** Paragraphs joined by line breaks; empty where neither source nor build is there. */
export function statementOf(file: string): string {
  const path = ['fuzz/studies', 'dist/fuzz/studies']
    .flatMap((folder) => [`${folder}/${file}.ts`, `${folder}/${file}.js`])
    .map((name) => join(packageRoot(), name))
    .find((name) => existsSync(name));
  if (path === undefined) return '';
  const lines = readFileSync(path, 'utf8').split('\n');
  const end = lines.findIndex((line) => !line.startsWith('//'));
  const text = lines.slice(0, end).map((line) => line.replace(/^\/\/ ?/, ''));
  return text
    .join('\n')
    .split('\n\n')
    .map((paragraph) => paragraph.replaceAll('\n', ' '))
    .join('\n\n')
    .replace(/^\S+\.ts - /, '');
}
