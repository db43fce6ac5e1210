// campaign-status.ts - where a campaign stands, as data: what the screen, `status --json`, the
// lines of `fuzz --json` and the report all show.

import { allCoverageCells } from '../../properties/index.js';
import type { CampaignStatistics, KernelSums, SeenFinding, Span } from './campaign-statistics.js';
import type { FindingState } from './journal.js';
import type { Manifest, ManifestKernel } from './manifest.js';
import { CASE_SPACE } from './plan.js';
import { type ResidualRisk, residualRisk } from './residual-risk.js';

/** Largest request that coverage asks for: every length class ends below it. */
const COVERAGE_TOKENS_MAX = 2048;

export interface PropertyRow {
  readonly name: string;
  readonly judged: number;
  readonly pass: number;
  readonly fail: number;
  readonly unsupported: number;
  readonly largestRatio: number;
}

export interface KernelStatus {
  readonly kernel: string;
  readonly devices: readonly { readonly uri: string; readonly name: string; readonly sm: string }[];
  readonly cases: number;
  readonly broken: number;
  readonly elements: number;
  /** Over the time in which its sessions ran, of whatever number of workers. */
  readonly casesPerSecond: number;
  readonly coverage: { readonly reached: number; readonly total: number };
  readonly largestRatio: { ratio: number; property: string; case: string } | null;
  readonly properties: readonly PropertyRow[];
}

export interface FindingStatus {
  readonly id: string | null;
  readonly kernel: string;
  readonly property: string;
  readonly signature: string;
  readonly message: string;
  readonly state: FindingState;
  /** Red: not known. */
  readonly new: boolean;
  readonly count: number;
  readonly index: number;
  readonly case: string;
  readonly firstAt: number;
  readonly lastAt: number;
  readonly path: string | null;
  readonly replay: string | null;
  readonly link: string | null;
}

export interface CampaignStatus {
  readonly campaign: string;
  readonly shard: string;
  readonly cases: number;
  readonly broken: number;
  readonly elements: number;
  /** Lines that told of a case a second time; 0 unless files were copied by hand. */
  readonly repeated: number;
  /** Time in which any session ran. */
  readonly activeMs: number;
  readonly casesPerSecond: number;
  /** Since the first case of the latest finding, until the last line; null: nothing was found. */
  readonly sinceLastFindMs: number | null;
  readonly kernels: readonly KernelStatus[];
  readonly findings: readonly FindingStatus[];
  /** That the next case shows a failure, or a coverage cell, that none has shown. */
  readonly residualRisk: {
    readonly finding: ResidualRisk | null;
    readonly cell: ResidualRisk | null;
  };
}

export interface StatusOptions {
  readonly manifest: Manifest;
  readonly statistics: CampaignStatistics;
  /** The folder of findings, and a command to replay one. */
  readonly pathOf: (file: string) => string;
  readonly replayOf: (path: string, uri: string) => string;
}

export function campaignStatus(options: StatusOptions): CampaignStatus {
  const { manifest, statistics } = options;
  const spans = [...statistics.spans.values()];
  const kernels = manifest.kernels.map((kernel) =>
    kernelStatus(kernel, statistics.kernelOf({ kernel: kernel.name }), spans),
  );
  const findings = [...statistics.findings.values()]
    .sort((a, b) => a.firstAt - b.firstAt)
    .map((seen) => findingStatus(seen, options));
  const cases = sumOf(kernels, (kernel) => kernel.cases);
  const lastFind = findings.reduce((last, { firstAt }) => Math.max(last, firstAt), 0);
  const activeMs = coveredMs(spans);
  return {
    campaign: manifest.id,
    shard: manifest.shard,
    cases,
    broken: sumOf(kernels, (kernel) => kernel.broken),
    elements: sumOf(kernels, (kernel) => kernel.elements),
    repeated: statistics.repeated,
    activeMs,
    casesPerSecond: rate(cases, activeMs),
    sinceLastFindMs: findings.length === 0 ? null : statistics.lastAt - lastFind,
    kernels,
    findings,
    residualRisk: risks(statistics, cases),
  };
}

function kernelStatus(
  { name, capabilities }: ManifestKernel,
  sums: KernelSums,
  spans: readonly Span[],
): KernelStatus {
  const all = cellsOf(capabilities);
  let reached = 0;
  for (const cell of sums.cells.keys()) if (all.has(cell)) reached += 1;
  let largest: KernelStatus['largestRatio'] = null;
  for (const [property, histogram] of sums.ratios) {
    if (histogram.largest > (largest?.ratio ?? 0)) {
      largest = { ratio: histogram.largest, property, case: histogram.largestCase };
    }
  }
  const own = spans.filter(({ kernel }) => kernel === name);
  return {
    kernel: name,
    devices: [...sums.devices].map(([uri, device]) => ({ uri, name: device.name, sm: device.sm })),
    cases: sums.cases,
    broken: sums.broken,
    elements: sums.elements,
    casesPerSecond: rate(sums.cases, coveredMs(own)),
    coverage: { reached, total: all.size },
    largestRatio: largest,
    properties: [...sums.properties].map(([property, sum]) => ({
      name: property,
      ...sum,
      largestRatio: sums.ratios.get(property)?.largest ?? 0,
    })),
  };
}

const cellSets = new Map<string, ReadonlySet<string>>();

/** Kept: the screen asks five times a second, and a kernel has thousands of cells. */
function cellsOf(capabilities: ManifestKernel['capabilities']): ReadonlySet<string> {
  const key = JSON.stringify(capabilities);
  const known = cellSets.get(key);
  if (known !== undefined) return known;
  const space = { ...CASE_SPACE, tokensMax: COVERAGE_TOKENS_MAX };
  const cells = new Set(allCoverageCells(capabilities, space));
  cellSets.set(key, cells);
  return cells;
}

/** Cells that no case has reached yet, in the order of the domain. */
export function unreachedCells(kernel: ManifestKernel, statistics: CampaignStatistics): string[] {
  const sums = statistics.kernelOf({ kernel: kernel.name });
  return [...cellsOf(kernel.capabilities)].filter((cell) => !sums.cells.has(cell));
}

function findingStatus(seen: SeenFinding, { pathOf, replayOf }: StatusOptions): FindingStatus {
  const path = seen.file === null ? null : pathOf(seen.file);
  return {
    id: seen.file === null ? null : seen.file.replace(/\.json$/, ''),
    kernel: seen.kernel,
    property: seen.property,
    signature: seen.signature,
    message: seen.message,
    state: seen.state,
    new: seen.state !== 'known',
    count: seen.count,
    index: Number.isFinite(seen.index) ? seen.index : (seen.toldBy ?? 0),
    case: seen.hash,
    firstAt: seen.firstAt,
    lastAt: seen.lastAt,
    path,
    replay: path === null ? null : replayOf(path, seen.uri),
    link: seen.link,
  };
}

function risks(statistics: CampaignStatistics, cases: number): CampaignStatus['residualRisk'] {
  const findings = [...statistics.findings.values()];
  const once = findings.filter(({ count }) => count === 1).length;
  let cells = 0;
  let cellsOnce = 0;
  for (const sums of statistics.kernels.values()) {
    cells += sums.cells.size;
    for (const times of sums.cells.values()) if (times === 1) cellsOnce += 1;
  }
  return {
    finding: residualRisk(cases, once, findings.length),
    // A case lies in several cells, so this is the expected number of new cells, at most 1.
    cell: residualRisk(cases, cellsOnce, cells),
  };
}

/** Length of the union of the spans: sessions of several kernels run at the same time. */
function coveredMs(spans: readonly Span[]): number {
  let covered = 0;
  let end = Number.NEGATIVE_INFINITY;
  for (const span of [...spans].sort((a, b) => a.from - b.from)) {
    covered += Math.max(0, span.to - Math.max(span.from, end));
    end = Math.max(end, span.to);
  }
  return covered;
}

function rate(cases: number, ms: number): number {
  return ms > 0 ? (1000 * cases) / ms : 0;
}

function sumOf<T>(list: readonly T[], value: (one: T) => number): number {
  return list.reduce((sum, one) => sum + value(one), 0);
}
