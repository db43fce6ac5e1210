// journal.ts - what a campaign has done, as append-only lines of JSON.
//
//   DIR/journal/<session>-<slot>.jsonl   one segment for each worker of each session (one start of
//                                        the supervisor)
//
// A segment is opened once and only appended to; a session that goes on with a campaign begins new
// segments, so that a line which a kill tore in two stays the last line of its file. The supervisor
// writes a case's line when the verdicts are there: a case is done exactly if its line is whole.
// The first line is a header and says what the others mean:
//
//   {"kind":"segment","schema":"kvproof.journal/1",...}
//   {"kind":"case","index":17,"hash":"...","verdicts":"pp.f",...}
//   {"kind":"broken",...}    a case that could not be judged, which is no fault of the kernel
//   {"kind":"finding",...}   a finding took another state
//   {"kind":"event",...}     for people: a worker killed from outside, a device lost
//
// `verdicts` has one letter for each property of the header: p passed, f failed, u unsupported,
// . not judged. Coverage cells are numbered within a segment; `cellNames` of a line introduces the
// numbers that it uses first. This file has types and the writer; journal-reader.ts reads.

import { closeSync, fsyncSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Case } from '../../properties/case.js';
import { coverageCells } from '../../properties/index.js';
import type { Device, SourceLine } from '../../properties/kernel.js';
import type { Worst } from '../../properties/property.js';
import { numberOrText } from './finding.js';
import type { PlannedCase } from './plan.js';
import type { NamedVerdict } from './protocol.js';

export const JOURNAL_SCHEMA = 'kvproof.journal/1';

/** A kernel's own words can be long; the reader refuses texts of more than 4096. */
const MESSAGE_LENGTH_MAX = 2000;

export interface SegmentHeader {
  readonly kind: 'segment';
  readonly schema: typeof JOURNAL_SCHEMA;
  /** Id of the campaign (campaign-folder.ts); equal in all shards of one campaign. */
  readonly campaign: string;
  /** Names this start of the supervisor; unique within the folder. */
  readonly session: string;
  readonly slot: number;
  /** The kernel as the campaign names it, e.g. "cuda:*", and as this worker opened it. */
  readonly kernel: string;
  readonly uri: string;
  readonly device: Device;
  /** Names of the properties, in the order of `verdicts`. */
  readonly properties: readonly string[];
  /** Milliseconds since 1970, as are all `at`. */
  readonly at: number;
}

export interface JournaledFailure {
  readonly property: string;
  readonly signature: string;
  readonly message: string;
  readonly worst?: Worst;
  readonly source?: SourceLine;
}

export interface CaseLine {
  readonly kind: 'case';
  /** Position in the plan of this kernel. */
  readonly index: number;
  readonly hash: string;
  readonly origin: string;
  readonly at: number;
  readonly ms: number;
  readonly elements: number;
  readonly verdicts: string;
  /** Largest error over bound, of the properties that measure one. */
  readonly ratios?: Readonly<Record<string, number>>;
  readonly cells: readonly number[];
  readonly cellNames?: Readonly<Record<string, string>>;
  /** With failures only: the case, so that a finding depends on no generator. */
  readonly failures?: readonly JournaledFailure[];
  readonly case?: Case;
}

export interface BrokenLine {
  readonly kind: 'broken';
  readonly index: number;
  readonly hash: string;
  readonly origin: string;
  readonly at: number;
  readonly message: string;
}

/**
 * new: seen; confirmed: seen again in a fresh process; flaky: not seen again; known: in the ledger;
 * fixed: in the ledger as fixed and failing again, so a regression.
 */
export const FINDING_STATES = ['new', 'confirmed', 'flaky', 'known', 'fixed'] as const;
export type FindingState = (typeof FINDING_STATES)[number];

export interface FindingLine {
  readonly kind: 'finding';
  readonly signature: string;
  readonly property: string;
  readonly state: FindingState;
  /** Plan position of the case that the finding is told by. */
  readonly index: number;
  readonly at: number;
  /** Name of the file in DIR/findings; null: none was written. */
  readonly file: string | null;
  /** Link of the ledger's entry, if it has one. */
  readonly link?: string;
  /** Where no case tells it. */
  readonly message?: string;
}

export interface EventLine {
  readonly kind: 'event';
  readonly event: 'killed-from-outside' | 'lost' | 'quarantined' | 'end';
  readonly at: number;
  readonly index?: number;
  readonly message: string;
}

export type JournalLine = CaseLine | BrokenLine | FindingLine | EventLine;

export class SegmentWriter {
  private readonly cells = new Map<string, number>();
  private readonly names: string[] = [];

  private constructor(
    private readonly descriptor: number,
    readonly header: SegmentHeader,
  ) {}

  static open(folder: string, header: SegmentHeader): SegmentWriter {
    mkdirSync(folder, { recursive: true });
    // 'ax': a segment that is there already belongs to somebody else.
    const path = join(folder, `${header.session}-${header.slot}.jsonl`);
    const writer = new SegmentWriter(openSync(path, 'ax'), header);
    writer.write(header, true);
    return writer;
  }

  /** Makes the line of a case; numbers its coverage cells in this segment. */
  caseLine(planned: PlannedCase, verdicts: readonly NamedVerdict[], at: number, ms: number) {
    const cellNames: Record<string, string> = {};
    const cells = coverageCells(planned.case).map((name) => {
      const known = this.cells.get(name);
      if (known !== undefined) return known;
      const number = this.cells.size;
      this.cells.set(name, number);
      this.names.push(name);
      cellNames[String(number)] = name;
      return number;
    });
    const { index, hash, origin } = planned;
    const failures = failuresOf(verdicts);
    const ratios = ratiosOf(verdicts);
    const line: CaseLine = {
      ...{ kind: 'case', index, hash, origin, at, ms: Math.round(ms) },
      elements: elementsOf(verdicts),
      verdicts: this.header.properties.map((name) => letterOf(name, verdicts)).join(''),
      ...(Object.keys(ratios).length === 0 ? {} : { ratios }),
      cells,
      ...(Object.keys(cellNames).length === 0 ? {} : { cellNames }),
      ...(failures.length === 0 ? {} : { failures, case: planned.case }),
    };
    return line;
  }

  /** Names of a line's coverage cells. */
  cellsOf(line: JournalLine): string[] {
    return line.kind === 'case' ? line.cells.map((number) => this.names[number]) : [];
  }

  /** `durable`: on the disk before this returns. A line without a failure can be run again. */
  append(line: JournalLine): void {
    const isCheap = line.kind === 'case' && line.failures === undefined;
    this.write(line, !isCheap);
  }

  close(): void {
    closeSync(this.descriptor);
  }

  private write(value: SegmentHeader | JournalLine, durable: boolean): void {
    const bytes = Buffer.from(`${JSON.stringify(value, numberOrText)}\n`);
    let done = 0;
    while (done < bytes.length) done += writeSync(this.descriptor, bytes, done);
    if (durable) fsyncSync(this.descriptor);
  }
}

/** One failure for each signature, the first of them. */
export function failuresOf(verdicts: readonly NamedVerdict[]): JournaledFailure[] {
  const failures = new Map<string, JournaledFailure>();
  for (const { property, verdict } of verdicts) {
    if (verdict.kind !== 'fail' || failures.has(verdict.signature)) continue;
    const { kind: _, message, ...failure } = verdict;
    const short = message.slice(0, MESSAGE_LENGTH_MAX);
    failures.set(verdict.signature, { property, ...failure, message: short });
  }
  return [...failures.values()];
}

function letterOf(name: string, verdicts: readonly NamedVerdict[]): string {
  const named = verdicts.find(({ property }) => property === name);
  return named === undefined ? '.' : named.verdict.kind[0];
}

function elementsOf(verdicts: readonly NamedVerdict[]): number {
  let sum = 0;
  for (const { verdict } of verdicts) if (verdict.kind === 'pass') sum += verdict.elements;
  return sum;
}

/** Three digits: a histogram needs no more, and a campaign has millions of them. */
function ratiosOf(verdicts: readonly NamedVerdict[]): Record<string, number> {
  const ratios: Record<string, number> = {};
  for (const { property, verdict } of verdicts) {
    if (verdict.kind === 'pass' && verdict.ratio > 0) {
      ratios[property] = Number(verdict.ratio.toPrecision(3));
    }
  }
  return ratios;
}
