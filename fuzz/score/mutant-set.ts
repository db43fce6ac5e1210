// mutant-set.ts - which mutant files a score takes: patterns of paths, from anywhere on the disk.
//
// A pattern is the path of a file, a folder (every .json in it), or has *, ?, ** and {a,b} as in a
// shell; the shell may as well have expanded it. Every file is read and checked before anything
// runs, and what is no mutant is refused with one sentence. Nothing is built here.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { type Mutant, mutantFolder, readMutant } from '../kernels/mutant.js';

export interface MutantFile {
  /** Absolute. */
  readonly path: string;
  readonly mutant: Mutant;
  /** Of the file's text: what a stored result belongs to. */
  readonly hash: string;
}

export type MutantSet =
  | { kind: 'mutants'; mutants: MutantFile[] }
  | { kind: 'error'; message: string };

/** The mutants of all patterns in the order of their paths, each file once; none: our own. */
export function readMutantSet(patterns: readonly string[]): MutantSet {
  const paths = new Set<string>();
  for (const pattern of patterns.length === 0 ? [mutantFolder()] : patterns) {
    const matched = expand(pattern);
    if (matched.length === 0) {
      const message = `--mutants: ${JSON.stringify(pattern)} matches no .json file`;
      return { kind: 'error', message };
    }
    for (const path of matched) paths.add(path);
  }
  const mutants: MutantFile[] = [];
  for (const path of [...paths].sort()) {
    const read = readMutant(path);
    if (read.kind === 'error') return { kind: 'error', message: `--mutants: ${read.message}` };
    const hash = createHash('sha256').update(readFileSync(path)).digest('hex').slice(0, 16);
    mutants.push({ path, mutant: read.mutant, hash });
  }
  return { kind: 'mutants', mutants };
}

/** Absolute paths of the files that a pattern means. */
export function expand(pattern: string): string[] {
  const found = isName(pattern) ? statSync(pattern, { throwIfNoEntry: false }) : undefined;
  if (found?.isFile() === true) return [resolve(pattern)];
  if (found?.isDirectory() === true) return jsonFiles(resolve(pattern), false);
  const absolute = resolve(pattern);
  const parts = absolute.split(sep);
  const wild = parts.findIndex((part) => /[*?{[]/.test(part));
  if (wild === -1) return [];
  const root = parts.slice(0, wild).join(sep) || sep;
  if (statSync(root, { throwIfNoEntry: false })?.isDirectory() !== true) return [];
  const matches = new RegExp(`^${globSource(parts.slice(wild).join('/'))}$`);
  const deep = parts.length - wild > 1;
  return jsonFiles(root, deep).filter((path) =>
    matches.test(relative(root, path).split(sep).join('/')),
  );
}

/** Many names in braces are a long pattern, and no file has so long a name. */
function isName(pattern: string): boolean {
  return pattern.split(sep).every((part) => Buffer.byteLength(part) <= 255);
}

function jsonFiles(folder: string, recursive: boolean): string[] {
  return readdirSync(folder, { recursive, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.json'))
    .map((entry) => join(entry.parentPath ?? dirname(folder), entry.name));
}

/** The expression of a glob: ** any depth, * and ? within a name, {a,b} either, [a-c] one of. */
function globSource(glob: string): string {
  let depth = 0;
  return glob.replace(/\*\*\/|\*\*|\[!?[^\]/]+\]|[*?{},]|[\\^$.|+()[\]]/g, (token) => {
    switch (token) {
      case '**/':
        return '(?:[^/]+/)*';
      case '**':
        return '.*';
      case '*':
        return '[^/]*';
      case '?':
        return '[^/]';
      case '{':
        depth += 1;
        return '(?:';
      case '}':
        depth -= 1;
        return ')';
      case ',':
        return depth > 0 ? '|' : ',';
      default:
        if (token.length === 1) return `\\${token}`;
        return token.replace(/\\/g, '\\\\').replace(/^\[!/, '[^');
    }
  });
}
