// mutant.ts - seeded bugs as data: what a mutant file says, and its edits applied to sources.
//
//   {id, class, story, precedent, equivalent?, architecture?, edits: [{file, find, replace}]}
//
// A mutant is a small, exact change of the kernels' sources. `find` must occur exactly once, so
// that a mutant cannot rot silently when the sources move on: it applies as meant or it is an
// error. A file may be anybody's, hence every field is checked and the edits stay below native/.
// Nothing is compiled here.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { packageRoot } from '../campaign/package-root.js';
import { ARCHITECTURES, type SimulatedArchitecture } from './uri.js';

export interface Edit {
  /** Relative to the package, below native/. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export interface Mutant {
  readonly id: string;
  /** Kind of bug, as in native/mutants/README.md. */
  readonly class: string;
  /** How such a bug comes about and how it shows. */
  readonly story: string;
  /** Where it happened for real. */
  readonly precedent: string;
  /** Why no test can tell it from the right kernel; absent if one can. */
  readonly equivalent?: string;
  /** The code path that holds the bug may exist on one architecture only. */
  readonly architecture: SimulatedArchitecture;
  readonly edits: readonly Edit[];
}

export type MutantResult = { kind: 'mutant'; mutant: Mutant } | { kind: 'error'; message: string };

/** A mutant file is a few hundred bytes; this is only to refuse nonsense. */
const EDITS_MAX = 64;

export function mutantFolder(): string {
  return join(packageRoot(), 'native', 'mutants');
}

/** Every mutant of the project, by id; none where its sources are not. */
export function listMutants(folder = mutantFolder()): ({ id: string } & MutantResult)[] {
  if (!existsSync(folder)) return []; // a bundle has none
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .sort()
    .map((name) => ({ id: basename(name, '.json'), ...readMutant(join(folder, name)) }));
}

export function readMutant(path: string): MutantResult {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unreadable';
    return { kind: 'error', message: `${path}: cannot be read (${code})` };
  }
  const parsed = parseMutant(text);
  if (parsed.kind === 'error') return { kind: 'error', message: `${path}: ${parsed.message}` };
  const name = basename(path, '.json');
  if (parsed.mutant.id === name) return parsed;
  const message = `${path}: id "${parsed.mutant.id}" is not "${name}", the name of the file`;
  return { kind: 'error', message };
}

const TEXT_FIELDS = ['id', 'class', 'story', 'precedent', 'equivalent', 'architecture'] as const;
const REQUIRED_FIELDS = ['id', 'class', 'story', 'precedent'] as const;

export function parseMutant(text: string): MutantResult {
  const fail = (message: string): MutantResult => ({ kind: 'error', message });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return fail('not JSON');
  }
  if (!isRecord(value)) return fail('not an object');
  for (const key of Object.keys(value)) {
    if (key !== 'edits' && !(TEXT_FIELDS as readonly string[]).includes(key)) {
      return fail(`${key}: not a field of a mutant`);
    }
  }
  for (const key of TEXT_FIELDS) {
    const required = (REQUIRED_FIELDS as readonly string[]).includes(key);
    if (value[key] === undefined && !required) continue;
    if (typeof value[key] !== 'string' || value[key] === '') return fail(`${key}: no text`);
  }
  const fields = value as unknown as Omit<Mutant, 'architecture'> & { architecture?: string };
  if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(fields.id)) {
    return fail(`id: ${JSON.stringify(fields.id)} is not made of lower-case words and hyphens`);
  }
  const architecture = ARCHITECTURES.find((a) => a === (fields.architecture ?? 'sm_90'));
  if (architecture === undefined) {
    return fail(`architecture: "${fields.architecture}" is not one of ${ARCHITECTURES.join(', ')}`);
  }
  const error = editsError(value.edits);
  if (error !== null) return fail(error);
  return { kind: 'mutant', mutant: { ...fields, architecture } };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function editsError(edits: unknown): string | null {
  if (!Array.isArray(edits) || edits.length === 0 || edits.length > EDITS_MAX) {
    return `edits: a list of 1 to ${EDITS_MAX} is required`;
  }
  for (const [i, edit] of edits.entries()) {
    if (!isRecord(edit) || Object.keys(edit).sort().join() !== 'file,find,replace') {
      return `edits[${i}]: file, find and replace are required, and nothing else`;
    }
    const { file, find, replace } = edit;
    if (typeof file !== 'string' || !isNativePath(file)) {
      return `edits[${i}].file: ${JSON.stringify(file)} is not a path below native/`;
    }
    if (typeof find !== 'string' || find === '') return `edits[${i}].find: no text`;
    if (typeof replace !== 'string') return `edits[${i}].replace: no text`;
    if (find === replace) return `edits[${i}]: find and replace are the same`;
  }
  return null;
}

/** Plain names below native/, no "..": nothing outside can be named. */
function isNativePath(path: string): boolean {
  const parts = path.split('/');
  return (
    parts.length >= 2 &&
    parts[0] === 'native' &&
    parts.every((part) => /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(part))
  );
}

export type EditResult =
  /** File to its text after all edits. */
  { kind: 'edited'; files: ReadonlyMap<string, string> } | { kind: 'error'; message: string };

/** Applies the edits in order. `read` gives the text of a file of the package, or null. */
export function applyEdits(
  edits: readonly Edit[],
  read: (file: string) => string | null,
): EditResult {
  const files = new Map<string, string>();
  for (const [i, { file, find, replace }] of edits.entries()) {
    const fail = (why: string): EditResult => ({ kind: 'error', message: `edits[${i}].${why}` });
    const text = files.get(file) ?? read(file);
    if (text === null) return fail(`file: ${file} does not exist`);
    const times = occurrences(text, find);
    if (times !== 1) {
      const excerpt = JSON.stringify(find.length > 60 ? `${find.slice(0, 60)}...` : find);
      return fail(`find: ${excerpt} occurs ${times} times in ${file}, exactly once is required`);
    }
    const at = text.indexOf(find);
    files.set(file, text.slice(0, at) + replace + text.slice(at + find.length));
  }
  return { kind: 'edited', files };
}

/**
 * Overlapping occurrences count: "aa" is twice in "aaa", and which one is meant would be unclear.
 */
function occurrences(text: string, find: string): number {
  let times = 0;
  for (let at = text.indexOf(find); at >= 0; at = text.indexOf(find, at + 1)) times++;
  return times;
}
