// score.ts - the report of a score: lines for people, JSON (schema kvproof.score/1) and a table in
// Markdown, all from one Score.

import pc from 'picocolors';
import { numberOrText } from '../campaign/finding.js';
import { isSmall, SMALL_TOKENS } from '../campaign/smaller-shape.js';
import type { MutantResult, Score } from '../score/result.js';
import { isCounted } from '../score/rule.js';
import { count } from './failure.js';

export const SCORE_SCHEMA = 'kvproof.score/1';

export interface ScoreCounts {
  readonly killed: number;
  readonly survived: number;
  readonly equivalent: number;
  readonly unbuilt: number;
}

export function countsOf({ results }: Score): ScoreCounts {
  const of = (...statuses: string[]) => results.filter((r) => statuses.includes(r.status)).length;
  return {
    killed: of('killed'),
    survived: of('survived'),
    equivalent: of('equivalent'),
    unbuilt: of('build-failed', 'timeout'),
  };
}

export function scoreJson(score: Score): string {
  const { results, control, byOracle, ...rest } = score;
  const counts = countsOf(score);
  const result = {
    schema: SCORE_SCHEMA,
    seed: rest.seed,
    kernel: rest.kernel,
    device: rest.device,
    commit: rest.commit,
    elapsedMs: rest.elapsedMs,
    planned: rest.planned,
    ...counts,
    falsePositives: control.falsePositives.length,
    times: timesOf(score),
    byOracle,
    byClass: byClass(results),
    byProperty: byProperty(results),
    control: { ...control, errors: undefined },
    mutants: results.map(mutantJson),
  };
  return `${JSON.stringify(result, numberOrText, 2)}\n`;
}

function mutantJson({ errors: _, killingCase, shrunkCase, ...rest }: MutantResult): object {
  return {
    ...rest,
    case: shrunkCase === null ? null : JSON.parse(shrunkCase),
    original: killingCase === null ? null : JSON.parse(killingCase),
  };
}

export interface ScoreTimes {
  readonly medianMs: number;
  readonly worstMs: number;
  readonly medianWithBuildMs: number;
  readonly worstWithBuildMs: number;
  readonly medianShrinkMs: number;
  readonly worstShrinkMs: number;
  /** Of the kills that have a shrunk case: 1 request, 1 KV head, at most 129 tokens. */
  readonly small: number;
  readonly shrunk: number;
}

export function timesOf({ results }: Score): ScoreTimes {
  const killed = results.filter(({ status }) => status === 'killed');
  const hunts = killed.map(({ ms }) => ms);
  const whole = killed.map(({ ms, buildMs }) => ms + buildMs);
  const shrinks = killed.map(({ shrinkMs }) => shrinkMs);
  const shrunk = killed.flatMap((r) => (r.shrunk === null ? [] : [r.shrunk]));
  return {
    ...{ medianMs: median(hunts), worstMs: Math.max(0, ...hunts) },
    ...{ medianWithBuildMs: median(whole), worstWithBuildMs: Math.max(0, ...whole) },
    ...{ medianShrinkMs: median(shrinks), worstShrinkMs: Math.max(0, ...shrinks) },
    small: shrunk.filter(isSmall).length,
    shrunk: shrunk.length,
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length === 0 ? 0 : sorted[Math.floor(sorted.length / 2)];
}

function byClass(results: readonly MutantResult[]): Record<string, object> {
  const classes = [...new Set(results.map((r) => r.class))].sort();
  return Object.fromEntries(
    classes.map((name) => {
      const own = results.filter((r) => r.class === name && isCounted(r));
      const killed = own.filter(({ status }) => status === 'killed').length;
      return [name, { killed, total: own.length }];
    }),
  );
}

function byProperty(results: readonly MutantResult[]): Record<string, number> {
  const kills: Record<string, number> = {};
  for (const { property } of results) {
    if (property !== null) kills[property] = (kills[property] ?? 0) + 1;
  }
  return Object.fromEntries(Object.entries(kills).sort(([, a], [, b]) => b - a));
}

/** One line when a mutant is done. */
export function mutantLine(result: MutantResult): string {
  const { id, status, property, build, cases, ms, buildMs, shrunk, shrinkMs } = result;
  const times = `${seconds(ms)} after ${count(cases, 'case')}, ${seconds(buildMs)} to build`;
  if (status !== 'killed') {
    const why = result.message === null ? '' : `: ${result.message}`;
    return `${colour(status)} ${id}: ${times}${why}`;
  }
  const claim = result.claimedEquivalent ? pc.red(' (said to be equivalent)') : '';
  const by = `by ${property}${build === 'checked' ? ' on the checked build' : ''}`;
  const size = shrunk === null ? '' : `; shrunk to ${sizeText(shrunk)} in ${seconds(shrinkMs)}`;
  return `${colour(status)} ${id}${claim} ${by} in ${times}${size}`;
}

function colour(status: MutantResult['status']): string {
  if (status === 'killed') return pc.green(status);
  return status === 'equivalent' ? pc.dim(status) : pc.red(status);
}

function sizeText(size: NonNullable<MutantResult['shrunk']>): string {
  const { requests, kvHeads, queryHeads, tokens } = size;
  return [
    count(requests, 'request'),
    count(queryHeads, 'query head'),
    `on ${count(kvHeads, 'KV head')}`,
    count(tokens, 'token'),
  ].join(' ');
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

export function scoreReport(score: Score): string[] {
  const { results, control, byOracle } = score;
  const counts = countsOf(score);
  const counted = counts.killed + counts.survived;
  const times = timesOf(score);
  const open = results.filter(({ status }) => !['killed', 'equivalent'].includes(status));
  const wrongClaims = results.filter((r) => r.status === 'killed' && r.claimedEquivalent);
  return [
    ...open.map(mutantLine),
    ...wrongClaims.map(mutantLine),
    ...ruleLines(byOracle, counts.killed, counted, control.falsePositives.length),
    ...control.falsePositives.map(
      ({ architecture, build, property, case: c }) =>
        `${pc.red('FALSE POSITIVE')} ${property} on sim:${architecture}, ${build} build: ${c}`,
    ),
    `time to kill: median ${seconds(times.medianMs)}, worst ${seconds(times.worstMs)}; ` +
      `with the build: median ${seconds(times.medianWithBuildMs)}, ` +
      `worst ${seconds(times.worstWithBuildMs)}`,
    `shrunk to 1 request, 1 KV head and at most ${SMALL_TOKENS} tokens: ${times.small} of ` +
      `${times.shrunk}; shrinking took ${seconds(times.medianShrinkMs)} in the median, ` +
      `${seconds(times.worstShrinkMs)} at worst`,
    `clean kernels: ${count(control.cases, 'case')} and ${control.checkedCases} on the checked ` +
      `build, ${count(control.falsePositives.length, 'false positive')}`,
    verdictLine(score, counts),
  ];
}

function verdictLine(score: Score, counts: ScoreCounts): string {
  const { killed, survived, equivalent, unbuilt } = counts;
  const parts = [
    `${killed} of ${killed + survived} killed`,
    ...(survived > 0 ? [`${survived} survived`] : []),
    `${equivalent} equivalent`,
    ...(unbuilt > 0 ? [`${unbuilt} not built`] : []),
    `seed ${score.seed}`,
    `${(score.elapsedMs / 1000).toFixed(0)} s`,
  ];
  const missing = score.planned - score.results.length;
  const text = parts.join(', ') + (missing > 0 ? `, interrupted with ${missing} to go` : '');
  const good = survived === 0 && missing === 0 && score.control.falsePositives.length === 0;
  return pc.bold(good ? pc.green(text) : pc.red(text));
}

function ruleLines(
  byOracle: Score['byOracle'],
  killed: number,
  total: number,
  falsePositives: number,
): string[] {
  const rows = Object.entries(byOracle);
  if (rows.length === 0) return [];
  const all: [string, Score['byOracle'][string]][] = [
    ['kvproof', { killed, total, falsePositives }],
    ...rows,
  ];
  return all.map(([name, rule]) => {
    const share = rule.total === 0 ? 0 : (100 * rule.killed) / rule.total;
    return (
      `${name.padEnd(20)} kills ${String(rule.killed).padStart(4)} of ${rule.total} ` +
      `(${share.toFixed(0)} %), rejects the clean kernel in ${count(rule.falsePositives, 'case')}`
    );
  });
}

export function scoreMarkdown(score: Score): string {
  const counts = countsOf(score);
  const rows = score.results.map((r) => [
    r.id,
    r.class,
    r.status,
    r.property === null ? '-' : `${r.property}${r.build === 'checked' ? ' (checked)' : ''}`,
    String(r.cases),
    seconds(r.ms),
    r.shrunk === null ? '-' : sizeText(r.shrunk),
  ]);
  const head = ['mutant', 'class', 'status', 'property', 'cases', 'time', 'shrunk to'];
  const rules = Object.entries(score.byOracle).map(([name, rule]) => [
    name,
    `${rule.killed} of ${rule.total}`,
    String(rule.falsePositives),
  ]);
  const own = [
    'kvproof',
    `${counts.killed} of ${counts.killed + counts.survived}`,
    String(score.control.falsePositives.length),
  ];
  return [
    `Kernel ${score.kernel}, seed ${score.seed}, commit ${score.commit.slice(0, 12)}.`,
    '',
    ...markdownTable(['rule', 'killed', 'false positives'], [own, ...rules]),
    '',
    ...markdownTable(head, rows),
    '',
  ].join('\n');
}

function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)];
}
