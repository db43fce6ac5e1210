// study-records.ts - what a study has measured so far, on disk: DIR/records.jsonl.
//
// The first line says what the records belong to; every further line is one task's value, appended
// as it comes. A line that was cut off in the middle is the last one and is ignored. Going on with
// records of another kernel, model or commit would mix measurements: it is refused.

import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { reasonOf } from '../campaign/workdir.js';

export const RECORDS_SCHEMA = 'kvproof.study-records/1';

/** Everything that a value depends on, besides its task. */
export type RecordsIdentity = Readonly<Record<string, string | number>>;

export type RecordsResult =
  | { kind: 'records'; records: StudyRecords }
  | { kind: 'error'; message: string };

export class StudyRecords {
  private constructor(
    private readonly path: string,
    readonly values: Map<string, unknown>,
  ) {}

  /** Starts anew, or with `resume` goes on where there is something of the same identity. */
  static open(folder: string, identity: RecordsIdentity, resume: boolean): RecordsResult {
    const path = join(folder, 'records.jsonl');
    try {
      mkdirSync(folder, { recursive: true });
      const text = resume ? textOf(path) : null;
      if (text !== null) return resumed(path, text, identity);
      writeFileSync(path, `${JSON.stringify({ schema: RECORDS_SCHEMA, ...identity })}\n`);
      return { kind: 'records', records: new StudyRecords(path, new Map()) };
    } catch (error) {
      return { kind: 'error', message: `${path}: cannot be used (${reasonOf(error)})` };
    }
  }

  static of(path: string, values: Map<string, unknown>): StudyRecords {
    return new StudyRecords(path, values);
  }

  add(key: string, value: unknown): void {
    appendFileSync(this.path, `${JSON.stringify({ key, value })}\n`);
    this.values.set(key, value);
  }
}

function textOf(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

function resumed(path: string, text: string, identity: RecordsIdentity): RecordsResult {
  const lines = text.split('\n');
  const whole = lines.slice(0, -1); // behind the last line break is nothing, or half a line
  const header = parsed(whole[0] ?? '');
  for (const [name, required] of Object.entries({ schema: RECORDS_SCHEMA, ...identity })) {
    const found = header?.[name];
    if (found === required) continue;
    const message =
      `${path}: ${name} is ${JSON.stringify(found ?? null)}, this run has ` +
      `${JSON.stringify(required)}; without --resume the records are started anew`;
    return { kind: 'error', message };
  }
  const values = new Map<string, unknown>();
  for (const line of whole.slice(1)) {
    const record = parsed(line);
    if (typeof record?.key === 'string') values.set(record.key, record.value);
  }
  if (lines.at(-1) !== '') writeFileSync(path, `${whole.join('\n')}\n`);
  return { kind: 'records', records: StudyRecords.of(path, values) };
}

function parsed(line: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
