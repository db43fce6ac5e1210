// journal-reader.ts - reads the segments of a campaign, whoever wrote them.
//
// A segment may be torn (its last line is cut off: the supervisor was killed while it wrote) or
// damaged by anything. Reading goes line by line in constant memory, a line has a largest length,
// every value is checked before it is handed on, and what cannot be used is counted and described
// in one sentence; nothing throws because of what a file holds.

import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { parseCase } from '../../properties/parse-case.js';
import {
  type CaseLine,
  FINDING_STATES,
  JOURNAL_SCHEMA,
  type JournaledFailure,
  type JournalLine,
  type SegmentHeader,
} from './journal.js';
import { reasonOf } from './workdir.js';

/** A failing case with a literal tensor is the longest line; such cases are small. */
const LINE_BYTES_MAX = 4 * 1024 * 1024;
const CHUNK_BYTES = 256 * 1024;
const TEXT_MAX = 4096;
const CELLS_MAX = 100_000;

export interface SegmentReport {
  readonly path: string;
  readonly header: SegmentHeader | null;
  readonly lines: number;
  /** The last line is cut off, as a kill leaves it. */
  readonly torn: boolean;
  /** Lines that cannot be used, besides a torn one, and what is wrong with the first. */
  readonly damaged: number;
  readonly problem: string | null;
}

export interface ReadLine {
  readonly header: SegmentHeader;
  readonly line: JournalLine;
  /** Names of the line's coverage cells. */
  readonly cells: readonly string[];
}

/** Segment files of a folder in the order of their names. */
export function segmentPaths(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => /^[a-z0-9]+-\d+\.jsonl$/.test(name))
      .sort()
      .map((name) => join(folder, name));
  } catch {
    return [];
  }
}

/** Hands every good line to `visit`, in order. */
export function readSegment(path: string, visit: (read: ReadLine) => void): SegmentReport {
  const state = new SegmentState(path, visit);
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (error) {
    return state.report(`cannot be read (${reasonOf(error)})`);
  }
  try {
    if (!fstatSync(descriptor).isFile()) return state.report('is not a regular file');
    eachLine(descriptor, (line, complete) => state.take(line, complete));
  } catch (error) {
    return state.report(`cannot be read (${reasonOf(error)})`);
  } finally {
    closeSync(descriptor);
  }
  return state.report(null);
}

/** null: a line longer than the limit. complete=false: the last piece, without a newline. */
function eachLine(
  descriptor: number,
  take: (line: string | null, complete: boolean) => void,
): void {
  const chunk = Buffer.alloc(CHUNK_BYTES);
  let rest: Buffer[] = [];
  let restBytes = 0;
  let tooLong = false;
  for (;;) {
    const read = readSync(descriptor, chunk, 0, CHUNK_BYTES, null);
    if (read === 0) break;
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0 && end < read; end = chunk.indexOf(10, start)) {
      if (tooLong || restBytes + end - start > LINE_BYTES_MAX) take(null, true);
      else take(Buffer.concat([...rest, chunk.subarray(start, end)]).toString('utf8'), true);
      rest = [];
      restBytes = 0;
      tooLong = false;
      start = end + 1;
      if (start >= read) break;
    }
    if (start < read) {
      restBytes += read - start;
      if (restBytes > LINE_BYTES_MAX) {
        tooLong = true;
        rest = [];
      } else {
        rest.push(Buffer.from(chunk.subarray(start, read)));
      }
    }
  }
  if (restBytes > 0) take(tooLong ? null : Buffer.concat(rest).toString('utf8'), false);
}

class SegmentState {
  private header: SegmentHeader | null = null;
  private readonly cells = new Map<number, string>();
  private lines = 0;
  private damaged = 0;
  private problem: string | null = null;
  private torn = false;
  private number = 0;

  constructor(
    private readonly path: string,
    private readonly visit: (read: ReadLine) => void,
  ) {}

  take(text: string | null, complete: boolean): void {
    this.number += 1;
    if (!complete) {
      this.torn = true;
      return;
    }
    const json = text === null ? undefined : parsed(text);
    if (this.number === 1) {
      this.header = json === undefined ? null : headerOf(json);
      if (this.header === null) this.complain(`no header of schema "${JOURNAL_SCHEMA}"`);
      return;
    }
    const { header } = this;
    if (header === null) return; // without a header the lines mean nothing
    const line = json === undefined ? null : lineOf(json, header);
    if (line === null) {
      this.complain('no line of a journal');
      return;
    }
    const cells = line.kind === 'case' ? this.cellsOf(line) : [];
    this.lines += 1;
    this.visit({ header, line, cells });
  }

  report(trouble: string | null): SegmentReport {
    const { path, header, lines, torn, damaged } = this;
    const problem = trouble === null ? this.problem : `${path}: ${trouble}`;
    return { path, header, lines, torn, damaged, problem };
  }

  private complain(found: string): void {
    this.damaged += 1;
    this.problem ??= `${this.path}: line ${this.number} is ${found}`;
  }

  private cellsOf({ cells, cellNames }: CaseLine): string[] {
    for (const [number, name] of Object.entries(cellNames ?? {})) {
      if (this.cells.size < CELLS_MAX) this.cells.set(Number(number), name);
    }
    return cells.flatMap((number) => this.cells.get(number) ?? []);
  }
}

type Fields = Readonly<Record<string, unknown>>;

/** An escape of a control character in JSON, or the character itself. */
const CONTROL_IN_JSON = /\\u00[0189][0-9a-f]|\\u007f|\\[bfnrt]|\p{Cc}/iu;

/** A terminal obeys control characters: text that is shown holds none. */
function withoutControls(_key: string, value: unknown): unknown {
  return typeof value === 'string' ? value.replace(/\p{Cc}/gu, ' ') : value;
}

function parsed(text: string): Fields | undefined {
  try {
    const isPlain = !CONTROL_IN_JSON.test(text);
    const json: unknown = isPlain ? JSON.parse(text) : JSON.parse(text, withoutControls);
    const isObject = typeof json === 'object' && json !== null && !Array.isArray(json);
    return isObject ? (json as Fields) : undefined;
  } catch {
    return undefined;
  }
}

const isText = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= TEXT_MAX;

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

function headerOf(json: Fields): SegmentHeader | null {
  const { kind, schema, campaign, session, slot, kernel, uri, device, properties, at } = json;
  if (kind !== 'segment' || schema !== JOURNAL_SCHEMA) return null;
  if (![campaign, session, kernel, uri].every(isText) || !isCount(slot) || !isCount(at)) {
    return null;
  }
  if (typeof device !== 'object' || device === null) return null;
  const { name, sm, driver } = device as Fields;
  if (!isText(name) || !isText(sm) || !isText(driver)) return null;
  if (!Array.isArray(properties) || properties.length > 1000 || !properties.every(isText)) {
    return null;
  }
  return { ...(json as unknown as SegmentHeader), device: { name, sm, driver } };
}

/** Rebuilt from checked values; fields that this version does not know are left out. */
function lineOf(json: Fields, header: SegmentHeader): JournalLine | null {
  const { kind, index, hash, origin, at, message } = json;
  if (!isCount(at)) return null;
  if (kind === 'event') {
    const { event } = json;
    if (!isEvent(event) || !isText(message)) return null;
    return { kind, event, at, message, ...(isCount(index) ? { index } : {}) };
  }
  if (!isCount(index)) return null;
  if (kind === 'finding') return findingLineOf(json, index, at);
  if (!isText(hash) || !/^[0-9a-f]{16}$/.test(hash) || !isText(origin)) return null;
  if (kind === 'broken') {
    return isText(message) ? { kind, index, hash, origin, at, message } : null;
  }
  return kind === 'case' ? caseLineOf(json, { index, hash, origin, at }, header) : null;
}

function isEvent(value: unknown): value is 'killed-from-outside' | 'lost' | 'quarantined' | 'end' {
  return isText(value) && /^(killed-from-outside|lost|quarantined|end)$/.test(value);
}

function findingLineOf(json: Fields, index: number, at: number): JournalLine | null {
  const { signature, property, state, file, link, message } = json;
  const known = FINDING_STATES.find((name) => name === state);
  if (!isText(signature) || !isText(property) || known === undefined) return null;
  // A name, never a path: whoever reads the journal joins it to a folder of its own.
  if (file !== null && !(isText(file) && /^[a-z0-9-]+\.json$/.test(file))) return null;
  const more = { ...(isText(link) ? { link } : {}), ...(isText(message) ? { message } : {}) };
  return { kind: 'finding', signature, property, state: known, index, at, file, ...more };
}

function caseLineOf(
  json: Fields,
  common: Pick<CaseLine, 'index' | 'hash' | 'origin' | 'at'>,
  header: SegmentHeader,
): CaseLine | null {
  const { ms, elements, verdicts, ratios, cells, cellNames, failures } = json;
  if (!isCount(ms) || !isCount(elements) || !isText(verdicts)) return null;
  if (verdicts.length !== header.properties.length || !/^[pfu.]*$/.test(verdicts)) return null;
  if (!Array.isArray(cells) || cells.length > 1000 || !cells.every(isCount)) return null;
  if (!isTable(ratios, (value) => typeof value === 'number' && value >= 0)) return null;
  if (!isTable(cellNames, isText)) return null;
  const line = { ...common, kind: 'case' as const, ms, elements, verdicts, cells };
  const more = {
    ...(ratios === undefined ? {} : { ratios: ratios as Record<string, number> }),
    ...(cellNames === undefined ? {} : { cellNames: cellNames as Record<string, string> }),
  };
  if (failures === undefined) return verdicts.includes('f') ? null : { ...line, ...more };
  const read = failuresIn(failures);
  const own = parseCase(json.case);
  if (read === null || own.kind === 'error') return null;
  return { ...line, ...more, failures: read, case: own.case };
}

function isTable(value: unknown, accepts: (entry: unknown) => boolean): boolean {
  if (value === undefined) return true;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const entries = Object.entries(value);
  return entries.length <= 1000 && entries.every(([key, entry]) => isText(key) && accepts(entry));
}

function failuresIn(value: unknown): JournaledFailure[] | null {
  if (!Array.isArray(value) || value.length === 0 || value.length > 1000) return null;
  const failures: JournaledFailure[] = [];
  for (const one of value) {
    if (typeof one !== 'object' || one === null) return null;
    const { property, signature, message } = one as Fields;
    if (!isText(property) || !isText(signature) || !isText(message)) return null;
    failures.push({ property, signature, message });
  }
  return failures;
}
