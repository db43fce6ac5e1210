// case-file.ts - reads stored cases: case files, and findings, which hold a case and its history.
//
// A file may have been written by anybody. It is bounded in size before it is read, parsed
// strictly, and every refusal is one sentence that begins with the path of the file.

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CASE_SCHEMA, type Case } from '../../properties/case.js';
import { parseCase } from '../../properties/parse-case.js';
import { FINDING_SCHEMA, parseFinding, type StoredFinding } from './finding.js';
import { reasonOf } from './workdir.js';

/** Two literal tensors of 4 million values in base64; everything else is below 2 kB. */
const FILE_BYTES_MAX = 64 * 1024 * 1024;

export interface StoredCase {
  readonly path: string;
  readonly case: Case;
  /** null: the file is a bare case. */
  readonly finding: StoredFinding | null;
}

export type StoredCaseResult =
  | { kind: 'stored'; stored: StoredCase }
  | { kind: 'error'; message: string };

export type StoredCasesResult =
  | { kind: 'stored'; stored: StoredCase[] }
  | { kind: 'error'; message: string };

export function readCaseFile(path: string): StoredCaseResult {
  const error = (what: string): StoredCaseResult => ({
    kind: 'error',
    message: `${path}: ${what}`,
  });
  let text: string;
  try {
    const stat = statSync(path);
    if (!stat.isFile()) return error('is not a regular file, a case or a finding is required');
    if (stat.size > FILE_BYTES_MAX) {
      return error(`has ${stat.size} bytes, at most ${FILE_BYTES_MAX} are read`);
    }
    text = readFileSync(path, 'utf8');
  } catch (reason) {
    return error(`cannot be read (${reasonOf(reason)})`);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return error('is not JSON, a case or a finding is required');
  }
  const schema = typeof json === 'object' && json !== null && 'schema' in json ? json.schema : null;
  if (schema === FINDING_SCHEMA) {
    const parsed = parseFinding(json);
    if (parsed.kind === 'error') return error(parsed.message);
    const { finding } = parsed;
    return { kind: 'stored', stored: { path, case: finding.case, finding } };
  }
  if (schema !== CASE_SCHEMA) {
    return error(`has no schema "${CASE_SCHEMA}" or "${FINDING_SCHEMA}"`);
  }
  const parsed = parseCase(json);
  if (parsed.kind === 'error') return error(parsed.message);
  return { kind: 'stored', stored: { path, case: parsed.case, finding: null } };
}

/**
 * The stored cases below a path in the order of their names; a folder may be missing if `optional`.
 */
export function readCases(path: string, optional = false): StoredCasesResult {
  const listed = listJson(path);
  if (listed.kind === 'error') {
    return optional && listed.missing
      ? { kind: 'stored', stored: [] }
      : { kind: 'error', message: listed.message };
  }
  const stored: StoredCase[] = [];
  for (const file of listed.files) {
    const read = readCaseFile(file);
    if (read.kind === 'error') return read;
    stored.push(read.stored);
  }
  return { kind: 'stored', stored };
}

type Listing =
  | { kind: 'files'; files: string[] }
  | { kind: 'error'; message: string; missing: boolean };

function listJson(path: string): Listing {
  try {
    if (!statSync(path).isDirectory()) return { kind: 'files', files: [path] };
    const names = readdirSync(path).filter((name) => name.endsWith('.json'));
    return { kind: 'files', files: names.sort().map((name) => join(path, name)) };
  } catch (reason) {
    const missing = (reason as NodeJS.ErrnoException).code === 'ENOENT';
    return { kind: 'error', message: `${path}: cannot be read (${reasonOf(reason)})`, missing };
  }
}
