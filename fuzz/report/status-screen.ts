// status-screen.ts - a campaign's state for people: on a terminal a screen that is redrawn in
// place, at most every 200 ms; in a log one line every 10 s.
//
// The screen goes to the error output, as all progress does. It never grows beyond the window: what
// does not fit is left out from the middle of the list of findings, never from the sums.

import pc from 'picocolors';
import type { CampaignStatus, FindingStatus, KernelStatus } from '../campaign/campaign-status.js';
import type { ResidualRisk } from '../campaign/residual-risk.js';
import { count, grouped, significant } from './failure.js';
import { tell } from './writer.js';

const REDRAW_MS = 200;
const LINE_MS = 10_000;

export interface ScreenFacts {
  readonly seed: string;
  readonly workers: number;
  /** Cases of this shard in all sessions; null: no end. */
  readonly planned: number | null;
  /** Cases before this session, and when it began. */
  readonly before: number;
  readonly startedAt: number;
  readonly stopAt: number | null;
}

export class StatusScreen {
  private readonly terminal = process.stderr.isTTY === true;
  private lastAt = Date.now();
  private lines = 0;
  private facts: ScreenFacts | null = null;

  begin(facts: ScreenFacts): void {
    this.facts = facts;
  }

  /** `status` is asked for only when it is drawn. */
  update(status: () => CampaignStatus): void {
    const now = Date.now();
    if (now - this.lastAt < (this.terminal ? REDRAW_MS : LINE_MS)) return;
    this.lastAt = now;
    if (!this.terminal) {
      tell(statusLine(status()));
      return;
    }
    const { columns = 80, rows = 24 } = process.stderr;
    const drawn = screenLines(status(), this.facts, now, rows - 1);
    const cut = drawn.map((line) => `${truncated(line, columns - 1)}\x1b[K`);
    // Hidden while it is drawn: a cursor that runs over the screen flickers.
    process.stderr.write(`\x1b[?25l${this.home()}${cut.join('\n')}\n\x1b[J\x1b[?25h`);
    this.lines = cut.length;
  }

  /** Clears the screen, so that what follows starts on an empty line. */
  end(): void {
    if (this.lines > 0) process.stderr.write(`${this.home()}\x1b[J`);
    this.lines = 0;
  }

  /** A line above the screen, which is drawn again below it. */
  say(line: string): void {
    this.end();
    tell(line);
    this.lastAt = 0;
  }

  private home(): string {
    return this.lines === 0 ? '' : `\r\x1b[${this.lines}A`;
  }
}

export function statusLine(status: CampaignStatus): string {
  const { cases, casesPerSecond, findings, kernels, residualRisk } = status;
  const red = findings.filter((finding) => finding.new).length;
  const known = findings.length - red;
  return [
    `${grouped(cases)} cases`,
    `${casesPerSecond.toFixed(1)}/s`,
    `${count(red, 'finding')}${known > 0 ? `, ${known} known` : ''}`,
    lastFindText(status),
    ...kernels.map(({ kernel, coverage }) => `${kernel} cells ${coverageText(coverage)}`),
    `residual risk ${riskText(residualRisk.finding)}`,
  ].join(', ');
}

export function screenLines(
  status: CampaignStatus,
  facts: ScreenFacts | null,
  now: number,
  rows: number,
): string[] {
  const { kernels, residualRisk, findings } = status;
  const head = [
    `${pc.bold(`kvproof campaign ${status.campaign}`)}  shard ${status.shard}` +
      (facts === null
        ? ''
        : `  seed ${facts.seed.slice(0, 12)}  ${count(facts.workers, 'worker')}`),
    ...(facts === null ? [] : [sessionLine(status, facts, now)]),
    '',
    ...kernelTable(kernels),
    '',
    lastFindText(status),
    `residual risk  a new failure in the next case: ${riskText(residualRisk.finding)}`,
    `               a new coverage cell:            ${riskText(residualRisk.cell)}`,
    ...(status.broken === 0
      ? []
      : [pc.yellow(`could not be judged: ${count(status.broken, 'case')}`)]),
    '',
  ];
  const red = findings.filter((finding) => finding.new);
  const title = `findings       ${red.length} new, ${findings.length - red.length} known`;
  const room = Math.max(1, rows - head.length - 2);
  return [
    ...head,
    red.length > 0 ? pc.red(pc.bold(title)) : pc.green(title),
    ...shownFindings(findings, room),
  ];
}

/** The latest ones: they are what a person looks for. */
function shownFindings(findings: readonly FindingStatus[], room: number): string[] {
  const shown = findings.slice(Math.max(0, findings.length - room));
  const left = findings.length - shown.length;
  const lines = shown.map(findingLine);
  return left > 0 ? [pc.dim(`  ${left} more`), ...lines.slice(1)] : lines;
}

function findingLine({ state, signature, count: cases, kernel }: FindingStatus): string {
  const colour = { new: pc.yellow, confirmed: pc.red, fixed: pc.red, flaky: pc.magenta };
  const mark = state === 'known' ? pc.dim('known') : colour[state](state);
  const gap = ' '.repeat(Math.max(0, 9 - state.length));
  return `  ${mark}${gap}  ${signature}  x${cases}  ${kernel}`;
}

function kernelTable(kernels: readonly KernelStatus[]): string[] {
  const rows = kernels.map(({ kernel, cases, casesPerSecond, coverage, largestRatio }) => [
    kernel,
    grouped(cases),
    casesPerSecond.toFixed(1),
    coverageText(coverage),
    largestRatio === null ? '-' : `${significant(largestRatio.ratio)} ${largestRatio.property}`,
  ]);
  const head = ['kernel', 'cases', 'cases/s', 'coverage cells', 'error/bound'];
  const widths = head.map((title, i) =>
    Math.max(title.length, ...rows.map((row) => row[i].length)),
  );
  const line = (row: readonly string[]) =>
    row.map((cell, i) => (i === 1 || i === 2 ? cell.padStart(widths[i]) : cell.padEnd(widths[i])));
  return [pc.dim(line(head).join('  ')), ...rows.map((row) => line(row).join('  '))];
}

function sessionLine(status: CampaignStatus, facts: ScreenFacts, now: number): string {
  const elapsed = `running ${duration(now - facts.startedAt)}`;
  const done = status.kernels.reduce((sum, { cases, broken }) => sum + cases + broken, 0);
  const of = facts.planned === null ? '' : ` of ${grouped(facts.planned)} planned`;
  const resumed = facts.before === 0 ? '' : `, ${grouped(facts.before)} before this session`;
  const left = facts.stopAt === null ? '' : `, ${duration(facts.stopAt - now)} left`;
  return `${elapsed}${left}  ${grouped(done)} cases${of}${resumed}`;
}

function coverageText({ reached, total }: { reached: number; total: number }): string {
  const percent = total === 0 ? 0 : (100 * reached) / total;
  return `${reached} of ${total} (${percent.toFixed(1)} %)`;
}

function lastFindText({ sinceLastFindMs, activeMs }: CampaignStatus): string {
  return sinceLastFindMs === null
    ? `nothing found in ${duration(activeMs)}`
    : `last find ${duration(sinceLastFindMs)} ago`;
}

export function riskText(risk: ResidualRisk | null): string {
  if (risk === null) return 'unknown';
  const limit = Number(risk.limit.toPrecision(2));
  return `${significant(risk.estimate)} (at most ${significant(limit)})`;
}

/** "3 d 4 h", "2 h 10 min", "3 min 5 s", "12 s". */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const [days, hours] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24];
  const [minutes, rest] = [Math.floor(seconds / 60) % 60, seconds % 60];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${rest} s` : `${rest} s`;
}

const ESCAPE = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, 'y');

/** Columns of visible text; colours take none, and are closed where a line is cut. */
export function truncated(line: string, columns: number): string {
  let visible = 0;
  let kept = '';
  for (let i = 0; i < line.length; ) {
    ESCAPE.lastIndex = i;
    const colour = ESCAPE.exec(line);
    if (colour !== null) {
      kept += colour[0];
      i += colour[0].length;
    } else if (visible < columns) {
      kept += line[i++];
      visible += 1;
    } else {
      return kept.includes('\x1b[') ? `${kept}\x1b[0m` : kept;
    }
  }
  return kept;
}
