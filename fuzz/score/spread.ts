// spread.ts - of several draws the one that shows most of what no case before it had.
//
// A gate has thousands of cases, and independent draws reach everything in time. A score has some
// hundred, and a bug that needs a group of 128, K by token and heads of 64 meets no such case in a
// third of all seeds. So draws are compared by what they show: a scheme, a scheme beside each value
// of the shape, three values of the shape (most faults need three together or fewer: Kuhn, Wallace,
// Gallo, "Software fault interactions", 2004), and distributions beside each. A width has code of
// its own, and few schemes or many: by schemes alone 16 bits, which have one for a head size, would
// be known after three cases. So a width beside all of these counts as much as a scheme does.

import type { Case } from '../../properties/case.js';
import { lengthClass, ratioClass } from '../../properties/coverage-cell.js';
import { elementType, queryTokenCount } from '../../reference/problem.js';
import { recordTokens } from '../../reference/scheme.js';

/** A class of a size: where behaviour changes, up to 16 bits. */
const sizeClass = (n: number): string => {
  if (n <= 1) return String(n);
  return n <= 8 ? 'few' : n <= 32 ? 'tens' : n < 2 ** 16 ? 'many' : 'beyond 16 bits';
};

/** Query rows are computed eight at a time. */
const ROWS = 8;
const tilesOf = (rows: number) => Math.ceil(rows / ROWS);

/** Small numbers by themselves: two that share a factor differ from two that do not. */
const countClass = (n: number): string => (n <= 4 ? String(n) : 'more');

function rowClass(rows: number): string {
  const part = rows % ROWS === 0 ? '' : ', the last in part';
  return `${countClass(tilesOf(rows))} tiles${part}`;
}

/** Blocks without splits: far fewer than a GPU runs at a time, fewer, or more. */
function crowdClass(blocks: number): string {
  return blocks < 16 ? 'few' : blocks < 128 ? 'tens' : blocks < 272 ? 'hundreds' : 'more';
}

/** Of several query tokens the first may see nothing of the window, or nothing at all. */
function sightClass({ problem }: Case): string {
  const queries = queryTokenCount(problem);
  const isCut = (n: number) => n > 0 && n < queries - 1;
  if (queries === 1) return 'all';
  if (problem.tokens.some(isCut)) return 'nothing';
  return problem.tokens.some((n) => isCut(n % recordTokens))
    ? 'records alone'
    : 'some of the window';
}

/** A number that is shared out: evenly, by a shift, or by a division. */
function divisorClass(n: number): string {
  if (n <= 2) return String(n);
  return (n & (n - 1)) === 0 ? 'power of two' : 'other';
}

/** Only a record shows what its scheme is. */
const hasRecord = ({ problem }: Case) => problem.tokens.some((n) => n >= recordTokens);

function widthOf(c: Case): string {
  return hasRecord(c) ? `${c.scheme.bits} bits` : 'no record';
}

function schemeOf(c: Case): string {
  const { problem, scheme } = c;
  if (!hasRecord(c)) return 'no record';
  return `${scheme.format}/${scheme.bits}/${scheme.group}/${scheme.kAxis}/${problem.headSize}`;
}

/** Values of a case's shape and options, one of each kind. */
function shapeOf(c: Case): string[] {
  const { problem, options } = c;
  const ratio = problem.queryHeads / problem.kvHeads;
  const queries = queryTokenCount(problem);
  const longest = Math.max(...problem.tokens);
  const blocks = problem.tokens.length * problem.kvHeads * tilesOf(ratio * queries);
  const { pages, appended = 0, inputPadding = 0 } = options;
  const values = [
    ...[elementType(problem), lengthClass(longest), sizeClass(longest), ratioClass(ratio)],
    ...[rowClass(ratio * queries), sizeClass(queries), countClass(problem.kvHeads)],
    ...[sizeClass(problem.tokens.length), sizeClass(options.splits), sizeClass(appended)],
    ...[sightClass(c), divisorClass(options.splits), crowdClass(blocks)],
    ...[pages?.order ?? 'none', (pages?.sharedRecords ?? 0) > 0, inputPadding > 0],
  ];
  return values.map((value, kind) => `${kind}:${value}`);
}

function triplesOf(values: readonly string[]): string[] {
  return values.flatMap((a, i) =>
    values.slice(i + 1).flatMap((b, j) => values.slice(i + j + 2).map((c) => `${a} ${b} ${c}`)),
  );
}

/** What a case shows, in parts that count the same. */
function shown(c: Case): string[][] {
  const shape = shapeOf(c);
  const scheme = schemeOf(c);
  const width = widthOf(c);
  const tensors = (['q', 'k', 'v'] as const).map((t) => `${t}:${c.tensors[t].distribution}`);
  const beside = (name: string) => shape.map((value) => `${name} ${value}`);
  const ofWidth = [...beside(width), ...tensors.map((name) => `${width} ${name}`)];
  return [[scheme], beside(scheme), ofWidth, triplesOf(shape), tensors.flatMap(beside)];
}

export class Spread {
  private readonly known = new Set<string>();

  /** A case that runs whatever it shows. */
  add(c: Case): void {
    for (const name of shown(c).flat()) this.known.add(name);
  }

  /** The draw that shows most that is new, the first of equals. It counts as run then. */
  best(draws: readonly Case[]): Case {
    const news = draws.map((c) => this.newIn(c));
    const chosen = draws[news.indexOf(Math.max(...news))];
    this.add(chosen);
    return chosen;
  }

  /** The shares of its parts that are new, summed. */
  private newIn(c: Case): number {
    const share = (part: string[]) =>
      part.filter((name) => !this.known.has(name)).length / part.length;
    return shown(c).reduce((sum, part) => sum + share(part), 0);
  }
}
