// campaign-statistics.ts - what a campaign has seen, summed up from the lines of its journals.
//
// The same sums serve a running campaign (lines as they are written) and a folder that is read
// later or joined from shards, so that a status never differs from a report. A case counts once,
// whatever the number of lines that tell of it; lines of one segment come in their order, segments
// in any order.

import type { Case } from '../../properties/case.js';
import type { Device } from '../../properties/kernel.js';
import { IndexSet } from './case-source.js';
import type { CaseLine, FindingLine, FindingState, JournalLine, SegmentHeader } from './journal.js';
import { RatioHistogram } from './ratio-histogram.js';

export interface SeenFinding {
  readonly kernel: string;
  readonly property: string;
  readonly signature: string;
  message: string;
  /** Cases that failed so. */
  count: number;
  /** The first of them in the order of the plan, and where it ran. */
  index: number;
  hash: string;
  origin: string;
  case: Case | null;
  uri: string;
  firstAt: number;
  lastAt: number;
  state: FindingState;
  file: string | null;
  link: string | null;
  /** Plan position of the case that `file` was shrunk from. */
  toldBy: number | null;
}

export interface PropertySum {
  judged: number;
  pass: number;
  fail: number;
  unsupported: number;
}

export interface Span {
  from: number;
  to: number;
  cases: number;
  readonly kernel: string;
}

export class KernelSums {
  readonly done = new IndexSet();
  cases = 0;
  broken = 0;
  elements = 0;
  /** Sum over cases, whatever the number of workers. */
  busyMs = 0;
  readonly devices = new Map<string, Device>();
  readonly cells = new Map<string, number>();
  readonly properties = new Map<string, PropertySum>();
  readonly ratios = new Map<string, RatioHistogram>();
  readonly origins = new Map<string, number>();
}

/** Cases and new cells of one minute, for the figures of a report. */
export interface Minute {
  cases: number;
  cells: number;
}

const MINUTE_MS = 60_000;

export class CampaignStatistics {
  readonly kernels = new Map<string, KernelSums>();
  readonly findings = new Map<string, SeenFinding>();
  readonly minutes = new Map<number, Minute>();
  readonly events: { at: number; event: string; kernel: string; message: string }[] = [];
  /** One for each session and kernel, for rates: a campaign stands still between its sessions. */
  readonly spans = new Map<string, Span>();
  firstAt = Number.POSITIVE_INFINITY;
  lastAt = 0;
  /** Lines of cases that were counted before; 0 unless somebody copied a segment. */
  repeated = 0;

  start(header: SegmentHeader): void {
    const sums = this.kernelOf(header);
    sums.devices.set(header.uri, header.device);
    this.seen(header, header.at);
  }

  add(header: SegmentHeader, line: JournalLine, cells: readonly string[]): void {
    this.seen(header, line.at);
    if (line.kind === 'case') this.addCase(header, line, cells);
    else if (line.kind === 'finding') this.addState(header, line);
    else if (line.kind === 'event') {
      const { at, event, message } = line;
      this.events.push({ at, event, kernel: header.kernel, message });
    } else if (this.kernelOf(header).done.add(line.index)) this.kernelOf(header).broken += 1;
    else this.repeated += 1;
  }

  kernelOf({ kernel }: Pick<SegmentHeader, 'kernel'>): KernelSums {
    const known = this.kernels.get(kernel);
    if (known !== undefined) return known;
    const made = new KernelSums();
    this.kernels.set(kernel, made);
    return made;
  }

  private seen(header: SegmentHeader, at: number): void {
    this.firstAt = Math.min(this.firstAt, header.at);
    this.lastAt = Math.max(this.lastAt, at);
    const key = `${header.session} ${header.kernel}`;
    const span = this.spans.get(key);
    if (span === undefined) {
      this.spans.set(key, { from: header.at, to: at, cases: 0, kernel: header.kernel });
    } else {
      span.from = Math.min(span.from, header.at);
      span.to = Math.max(span.to, at);
    }
  }

  private addCase(header: SegmentHeader, line: CaseLine, cells: readonly string[]): void {
    const sums = this.kernelOf(header);
    if (!sums.done.add(line.index)) {
      this.repeated += 1;
      return;
    }
    sums.elements += line.elements;
    sums.busyMs += line.ms;
    const minute = Math.floor(line.at / MINUTE_MS);
    const row = this.minutes.get(minute) ?? { cases: 0, cells: 0 };
    this.minutes.set(minute, row);
    for (const [place, name] of header.properties.entries()) {
      countVerdict(sums, name, line.verdicts[place]);
    }
    // A case that the kernel does not support was not run.
    if (!/[pf]/.test(line.verdicts)) return;
    sums.cases += 1;
    row.cases += 1;
    const span = this.spans.get(`${header.session} ${header.kernel}`);
    if (span !== undefined) span.cases += 1;
    const origin = /^(generated|real-cache)$/.test(line.origin) ? line.origin : 'stored';
    sums.origins.set(origin, (sums.origins.get(origin) ?? 0) + 1);
    for (const cell of cells) {
      const times = sums.cells.get(cell) ?? 0;
      if (times === 0) row.cells += 1;
      sums.cells.set(cell, times + 1);
    }
    for (const [property, ratio] of Object.entries(line.ratios ?? {})) {
      const histogram = sums.ratios.get(property) ?? new RatioHistogram();
      sums.ratios.set(property, histogram);
      histogram.add(ratio, line.hash);
    }
    for (const failure of line.failures ?? []) {
      this.addFailure(header, line, failure);
    }
  }

  private addFailure(
    header: SegmentHeader,
    line: CaseLine,
    { property, signature, message }: { property: string; signature: string; message: string },
  ): void {
    const finding = this.findingOf(header, property, signature, line.at);
    finding.count += 1;
    finding.firstAt = Math.min(finding.firstAt, line.at);
    finding.lastAt = Math.max(finding.lastAt, line.at);
    if (line.index < finding.index) {
      finding.index = line.index;
      finding.hash = line.hash;
      finding.origin = line.origin;
      finding.message = message;
      finding.case = line.case ?? null;
      finding.uri = header.uri;
    }
  }

  /** The state that counts is that of the earliest case: whichever shard it ran on. */
  private addState(header: SegmentHeader, line: FindingLine): void {
    const finding = this.findingOf(header, line.property, line.signature, line.at);
    if (finding.message === '') finding.message = line.message ?? '';
    const isStronger =
      finding.toldBy === null ||
      rank(line.state) > rank(finding.state) ||
      (rank(line.state) === rank(finding.state) && line.index <= finding.toldBy);
    if (!isStronger) return;
    finding.state = line.state;
    finding.file = line.file;
    finding.link = line.link ?? null;
    finding.toldBy = line.index;
  }

  private findingOf(
    { kernel, uri }: SegmentHeader,
    property: string,
    signature: string,
    at: number,
  ): SeenFinding {
    const key = findingKey(kernel, signature);
    const known = this.findings.get(key);
    if (known !== undefined) return known;
    const made: SeenFinding = {
      ...{ kernel, property, signature, message: '', count: 0, uri },
      ...{ index: Number.POSITIVE_INFINITY, hash: '', origin: '', case: null },
      ...{ firstAt: at, lastAt: at, state: 'new', file: null, link: null, toldBy: null },
    };
    this.findings.set(key, made);
    return made;
  }
}

/** One bug is one finding for each kernel that shows it. */
export function findingKey(kernel: string, signature: string): string {
  return `${kernel} ${signature}`;
}

/** A case that the ledger does not cover is news, whatever it covers of the same signature. */
function rank(state: FindingState): number {
  return { known: 0, new: 1, flaky: 2, confirmed: 3, fixed: 4 }[state];
}

function countVerdict(sums: KernelSums, name: string, letter: string): void {
  if (letter === '.') return;
  const row = sums.properties.get(name) ?? { judged: 0, pass: 0, fail: 0, unsupported: 0 };
  sums.properties.set(name, row);
  if (letter === 'u') row.unsupported += 1;
  else {
    row.judged += 1;
    if (letter === 'p') row.pass += 1;
    else row.fail += 1;
  }
}
