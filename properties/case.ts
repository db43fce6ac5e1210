// Case: one complete input as data. Problem (shape), scheme (cache format), a recipe for each
// tensor, and options. Equal cases have equal canonical JSON, and the hash of that JSON is the
// case's name.
//
// Optional keys are left out where they have their default, so that a case keeps its name when the
// schema learns a new key.
//
// A Case holds no tensor values (unless literal) and no kernel: it can be stored for years and run
// on anything. parse-case.ts reads one from untrusted JSON; materialize.ts turns it into tensors.

import { elementType, type Problem, queryRowCount, queryTokenCount } from '../reference/problem.js';
import type { Scheme } from '../reference/scheme.js';
import { fnv1a64 } from './hash.js';
import type { Recipe } from './recipe.js';

export const CASE_SCHEMA = 'kvproof.case/1';

export interface CaseOptions {
  /** Multiplies q.k before the softmax; exactly representable in float32, as kernels receive it. */
  readonly softmaxScale: number;
  /** Parts that the tokens of a request are cut into; 0: the kernel chooses. */
  readonly splits: number;
  /** The cache is a pool of pages behind a page table (pages.ts); absent: pages in a row. */
  readonly pages?: PageOptions;
  /**
   * The last min(appended, tokens) tokens of each request come one a step, after the others were
   * quantised at once; 0 unless given. What a cache holds does not depend on it.
   */
  readonly appended?: number;
  /**
   * Elements between the rows of a head in q, k and v, a multiple of 8; 0 unless given. Tensors of
   * a case are dense: whoever runs it spreads them and fills what lies between with poison.
   */
  readonly inputPadding?: number;
}

export interface PageOptions {
  readonly order: PageOrder;
  /** Of a shuffled order; uint32. */
  readonly seed: number;
  /** Pages of the pool that no request owns. */
  readonly spare: number;
  /** First records of request 0 that every request has in common with it, as far as both go. */
  readonly sharedRecords: number;
}

export const PAGE_ORDERS = ['reversed', 'shuffled'] as const;
export type PageOrder = (typeof PAGE_ORDERS)[number];

export interface Case {
  readonly schema: typeof CASE_SCHEMA;
  readonly problem: Problem;
  readonly scheme: Scheme;
  readonly tensors: { readonly q: Recipe; readonly k: Recipe; readonly v: Recipe };
  readonly options: CaseOptions;
}

export type TensorName = keyof Case['tensors'];

/** Elements of each tensor of a problem: q, and k or v. */
export function tensorElements(problem: Problem): { q: number; kv: number } {
  const tokens = problem.tokens.reduce((sum, n) => sum + n, 0);
  return {
    q: queryRowCount(problem) * problem.headSize,
    kv: tokens * problem.kvHeads * problem.headSize,
  };
}

/**
 * Blocks of a decode launch that a case is given, one for each request, query head and split: an
 * emulator starts a few thousand in a second, whether or not they find a token.
 */
export const ROW_SPLITS_MAX = 2 ** 13;

/** Multiply-adds of one attention over the case: the measure of a case's cost. */
export function multiplyAdds(problem: Problem): number {
  const tokens = problem.tokens.reduce((sum, n) => sum + n, 0);
  return 2 * tokens * queryTokenCount(problem) * problem.queryHeads * problem.headSize;
}

/** The case without the optional keys that have their default. */
export function withoutDefaults(c: Case): Case {
  const { queryTokens: _n, type: _t, ...problem } = c.problem;
  const { appended = 0, inputPadding = 0, pages, ...options } = c.options;
  const n = queryTokenCount(c.problem);
  const type = elementType(c.problem);
  return {
    ...c,
    problem: {
      ...problem,
      ...(n === 1 ? {} : { queryTokens: n }),
      ...(type === 'fp16' ? {} : { type }),
    },
    options: {
      ...options,
      ...(pages === undefined ? {} : { pages }),
      ...(appended === 0 ? {} : { appended }),
      ...(inputPadding === 0 ? {} : { inputPadding }),
    },
  };
}

/** JSON with sorted keys and no spaces: equal cases give equal text. */
export function canonicalJson(c: Case): string {
  return sortedJson(withoutDefaults(c));
}

function sortedJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(sortedJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([key, x]) => `${JSON.stringify(key)}:${sortedJson(x)}`).join(',')}}`;
}

/** The case's name: 16 hex digits. */
export function caseHash(c: Case): string {
  return fnv1a64(canonicalJson(c));
}
