// Case: one complete input as data. Problem (shape), scheme (cache format), a recipe for each
// tensor, and options. Equal cases have equal canonical JSON, and the hash of that JSON is the
// case's name.
//
// A Case holds no tensor values (unless literal) and no kernel: it can be stored for years and run
// on anything. parse-case.ts reads one from untrusted JSON; materialize.ts turns it into tensors.

import type { Problem } from '../reference/problem.js';
import type { Scheme } from '../reference/scheme.js';
import { fnv1a64 } from './hash.js';
import type { Recipe } from './recipe.js';

export const CASE_SCHEMA = 'kvproof.case/1';

export interface CaseOptions {
  /** Multiplies q.k before the softmax; exactly representable in float32, as kernels receive it. */
  readonly softmaxScale: number;
  /** Parts that the tokens of a request are cut into; 0: the kernel chooses. */
  readonly splits: number;
}

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
    q: problem.tokens.length * problem.queryHeads * problem.headSize,
    kv: tokens * problem.kvHeads * problem.headSize,
  };
}

/** Multiply-adds of one attention over the case: the measure of a case's cost. */
export function multiplyAdds(problem: Problem): number {
  const tokens = problem.tokens.reduce((sum, n) => sum + n, 0);
  return 2 * tokens * problem.queryHeads * problem.headSize;
}

/** JSON with sorted keys and no spaces: equal cases give equal text. */
export function canonicalJson(c: Case): string {
  return sortedJson(c);
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
