// Derived: a case made out of another one by moving whole requests and heads about, and for each of
// its rows and heads the one of the original that it must equal. One comparison for all relations
// of that kind: the same bits where the kernel promises them (batch invariance, splits pinned),
// else the bound of the original's reference, which is the reference of the moved rows as well.
//
// The recipes of a derived case are those of the original and mean nothing: inputs are handed over.

import type { BoundResult } from '../reference/bound.js';
import { recordBytes } from '../reference/pack.js';
import { packedTokens, pageLookup, recordCounts } from '../reference/page-table.js';
import { firstTokens, queryTokenCount } from '../reference/problem.js';
import { recordTokens } from '../reference/scheme.js';
import { accept, verdictOf } from './acceptance.js';
import type { Case } from './case.js';
import type { Inputs, Ran, RunOptions } from './kernel.js';
import { pageTable, unshared } from './pages.js';
import type { Judgement, Verdict } from './property.js';
import { describeRow } from './rows.js';

export interface Derived {
  readonly case: Case;
  readonly inputs: Inputs;
  /** The original's row for each of the derived case (rows.ts); -1: nothing is required. */
  readonly rows: Int32Array;
  /** The same for (request, KV head). */
  readonly heads: Int32Array;
  /** Of the run of the derived case. */
  readonly options?: Partial<RunOptions>;
}

/** These requests of a case, in this order; one may occur twice. None shares its pages. */
export function selectRequests(c: Case, inputs: Inputs, order: readonly number[]): Derived {
  const { problem } = c;
  const { queryHeads, kvHeads, headSize } = problem;
  const first = firstTokens(problem);
  const tokens = order.map((request) => problem.tokens[request]);
  const selected = (x: Uint16Array, from: (request: number) => number, size: number) => {
    const parts = order.map((r) => x.subarray(from(r) * size, from(r + 1) * size));
    return concatenated(parts);
  };
  const kvSize = kvHeads * headSize;
  const queryRows = queryTokenCount(problem) * queryHeads;
  const numbered = (size: number) =>
    Int32Array.from({ length: order.length * size }, (_, i) => {
      return order[Math.floor(i / size)] * size + (i % size);
    });
  return {
    case: { ...unshared(c), problem: { ...problem, tokens } },
    inputs: {
      q: selected(inputs.q, (request) => request, queryRows * headSize),
      k: selected(inputs.k, (request) => first[request], kvSize),
      v: selected(inputs.v, (request) => first[request], kvSize),
    },
    rows: numbered(queryRows),
    heads: numbered(kvHeads),
  };
}

function concatenated(parts: readonly Uint16Array[]): Uint16Array {
  const out = new Uint16Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/**
 * x (outer, heads, headSize) with the heads of each outer index taken from `order`, in this order.
 */
export function selectHeads(
  x: Uint16Array,
  heads: number,
  headSize: number,
  order: readonly number[],
): Uint16Array {
  const outer = x.length / (heads * headSize);
  const out = new Uint16Array(outer * order.length * headSize);
  for (let i = 0; i < outer; i++) {
    order.forEach((head, place) => {
      const from = (i * heads + head) * headSize;
      out.set(x.subarray(from, from + headSize), (i * order.length + place) * headSize);
    });
  }
  return out;
}

/** With splits left open the kernel may choose others for another shape, and so other bits. */
export function promisesBits({ kernel, case: c }: Judgement): boolean {
  const { batchInvariant, deterministic } = kernel.capabilities;
  return batchInvariant === true && deterministic && c.options.splits !== 0;
}

/**
 * Runs a derived case and compares it with the original: in every bit where the kernel promises
 * that (`exact`), else within the original's bound.
 */
export function judgeDerived(
  property: string,
  judgement: Judgement,
  derived: Derived,
  exact: boolean = promisesBits(judgement),
): Verdict {
  const second = judgement.run(derived.inputs, derived.options, derived.case);
  if (second.kind === 'failed') return second.verdict;
  if (exact) {
    const base = judgement.base();
    if (base.kind === 'failed') return base.verdict;
    return sameParts(property, judgement.case, base.value, derived, second.value);
  }
  const reference = judgement.reference();
  if (reference.kind === 'failed') return reference.verdict;
  const { problem } = derived.case;
  const bound = boundOfRows(reference.value.bound, derived.rows, problem.headSize);
  const { output, lse } = second.value;
  const included = (row: number) => derived.rows[row] !== -1;
  return verdictOf(property, accept(problem, bound, output, lse, included));
}

/** The bounds of these rows of another result; rows that are not required hold anything. */
function boundOfRows(bound: BoundResult, rows: Int32Array, headSize: number): BoundResult {
  const elements = (x: Float64Array) => {
    const out = new Float64Array(rows.length * headSize);
    rows.forEach((from, row) => {
      if (from === -1) return;
      out.set(x.subarray(from * headSize, (from + 1) * headSize), row * headSize);
    });
    return out;
  };
  return {
    type: bound.type,
    output: elements(bound.output),
    outputBound: elements(bound.outputBound),
    outputRadius: elements(bound.outputRadius),
    lse: Float64Array.from(rows, (row) => bound.lse[Math.max(row, 0)]),
    lseBound: Float64Array.from(rows, (row) => bound.lseBound[Math.max(row, 0)]),
    valueMax: Float64Array.from(rows, (row) => bound.valueMax[Math.max(row, 0)]),
    guarded: Uint8Array.from(rows, (row) => bound.guarded[Math.max(row, 0)]),
    alternative: elements(bound.alternative),
  };
}

/** Every bit of the rows and heads that are required. */
function sameParts(property: string, c: Case, first: Ran, derived: Derived, second: Ran): Verdict {
  const { headSize, kvHeads } = derived.case.problem;
  let elements = 0;
  const differing = (
    tensor: string,
    place: string,
    found: ArrayLike<number>,
    required: ArrayLike<number>,
  ): Verdict | null => {
    elements += required.length;
    for (let i = 0; i < required.length; i++) {
      if (Object.is(found[i], required[i])) continue;
      const values = `found ${found[i]}, required ${required[i]} as in the case itself`;
      return {
        kind: 'fail',
        signature: `${property}/${tensor}`,
        message: `${tensor}[${i}] of ${place}: ${values}`,
      };
    }
    return null;
  };
  for (const [row, from] of derived.rows.entries()) {
    if (from === -1) continue;
    const place = describeRow(derived.case.problem, row);
    const ofRow = (x: Uint16Array, i: number) => x.subarray(i * headSize, (i + 1) * headSize);
    const verdict =
      differing('output', place, ofRow(second.output, row), ofRow(first.output, from)) ??
      differing('lse', place, [second.lse[row]], [first.lse[from]]);
    if (verdict !== null) return verdict;
  }
  // What a kernel with a layout of its own stored is judged by exact-codes in every run.
  const heads = first.stored === undefined ? derived.heads : new Int32Array(0);
  for (const [head, from] of heads.entries()) {
    if (from === -1) continue;
    const place = `request ${Math.floor(head / kvHeads)}, KV head ${head % kvHeads}`;
    const [found, required] = [storedHead(derived.case, second, head), storedHead(c, first, from)];
    const verdict =
      differing('cache', place, found.records, required.records) ??
      differing('k-residual', place, found.kTail, required.kTail) ??
      differing('v-residual', place, found.vTail, required.vTail);
    if (verdict !== null) return verdict;
  }
  return { kind: 'pass', elements, ratio: 0 };
}

interface StoredHead {
  readonly records: Uint8Array; // (pages, record bytes)
  readonly kTail: Uint16Array; // (tokens behind the last record, headSize)
  readonly vTail: Uint16Array;
}

/** What a run stored for one (request, KV head). */
function storedHead(c: Case, ran: Ran, index: number): StoredHead {
  const { problem, scheme } = c;
  const { kvHeads, headSize } = problem;
  const [request, head] = [Math.floor(index / kvHeads), index % kvHeads];
  const pageOf = pageLookup(problem, pageTable(c));
  const count = recordCounts(problem)[request];
  const bytes = recordBytes(scheme, headSize);
  const records = new Uint8Array(count * bytes);
  for (let record = 0; record < count; record++) {
    const from = (pageOf(request, record) * kvHeads + head) * bytes;
    records.set(ran.cache.subarray(from, from + bytes), record * bytes);
  }
  const tokens = problem.tokens[request];
  const tail = (x: Uint16Array) => {
    const out = new Uint16Array((tokens - packedTokens(tokens)) * headSize);
    for (let row = 0; row * headSize < out.length; row++) {
      const from = ((request * recordTokens + row) * kvHeads + head) * headSize;
      out.set(x.subarray(from, from + headSize), row * headSize);
    }
    return out;
  };
  return { records, kTail: tail(ran.kResidual), vTail: tail(ran.vResidual) };
}
