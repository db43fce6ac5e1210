// exact-codes for kernels with a layout of their own: the cache that they hand back, unpacked by
// the format's spec, holds the codes and parameters that the spec makes of K and V; dequantised
// values are those of the spec within the roundings of a dequantiser; queries that the kernel
// quantised are near the queries.
//
// Where a kernel declares `eitherTie`, a code may be that of a value a few ulps away (a reciprocal
// in place of a division, the other way at a half). A scale may then be the other of two that are
// equally near, or, in formats that keep it in binary32, a few ulps away.

import { u16 } from '../reference/arithmetic.js';
import { f64Array, f64FromF16 } from '../reference/format.js';
import { headTensor, specOf } from '../reference/formats/case-scheme.js';
import {
  type Codes,
  type FormatSpec,
  groupIndex,
  type HeadTensor,
  type TensorName,
} from '../reference/formats/format-spec.js';
import { numberTypes } from '../reference/number-type.js';
import { firstTokens, headRows } from '../reference/problem.js';
import type { Ran } from './kernel.js';
import type { Judgement, Verdict } from './property.js';
import { quantizedTokens, storedRows } from './stored.js';

/** Relative: a few roundings in binary32. */
const NUDGE = 2 ** -21;
/**
 * Of a query that a kernel quantises to 8 bits, relative to the largest of its row: half a step
 * (1 / 254) and the rounding of the scale to fp16.
 */
const QUERY_STEP = (1 / 254) * (1 + 2 ** -10) + u16;

function fail(rule: string, place: string, found: unknown, required: unknown): Verdict {
  const message = `${place}: found ${found}, required ${required}`;
  return { kind: 'fail', signature: `exact-codes/${rule}`, message };
}

/** Two parameters with the same meaning: +0 and -0, any two NaN. */
function sameNumber(a: number, b: number): boolean {
  return a === b || (Number.isNaN(a) && Number.isNaN(b));
}

/** Whether a few roundings in binary32 may be between two numbers. */
function near(a: number, b: number): boolean {
  return Math.abs(a - b) <= NUDGE * Math.abs(b);
}

/**
 * A scale that approximate divisions may give: the other of the two numbers around what is rounded
 * to it, as far as the format says what that is. In binary32 nothing is rounded but the steps.
 */
function isOtherTie(
  spec: FormatSpec,
  unrounded: number | undefined,
  found: number,
  required: number,
): boolean {
  if (spec.scaleType === 'f32') return near(found, required);
  if (unrounded === undefined) return false;
  const { round } = numberTypes[spec.scaleType];
  const moved = [1 - NUDGE, 1 + NUDGE].map((factor) => round(unrounded * factor));
  return found !== required && moved.includes(found);
}

/** Codes of a group whose scale is 0 say nothing: all of them mean the zero. */
function hasMeaning(spec: FormatSpec, t: HeadTensor, { scales }: Codes, element: number): boolean {
  const [token, channel] = [Math.floor(element / t.headSize), element % t.headSize];
  const group = groupIndex(spec.axisOf[t.tensor], t, token, channel);
  return numberTypes[spec.scaleType].decode(scales[group]) !== 0;
}

/**
 * The first of some elements whose code is not the spec's for its value or for its value moved by
 * some ulps of binary32, or -1: where the format says what it rounds, that number is moved. Else
 * only formats that quantise f32 have such values.
 */
function firstUntied(
  spec: FormatSpec,
  t: HeadTensor,
  x: Float64Array,
  found: Codes,
  required: Codes,
  differing: readonly number[],
): number {
  const unrounded = spec.unrounded(t, x);
  if (unrounded !== null) {
    const between = (i: number) => (found.codes[i] + required.codes[i]) / 2;
    const isTie = (i: number) =>
      Math.abs(found.codes[i] - required.codes[i]) === 1 && near(unrounded.codes[i], between(i));
    return differing.find((i) => !isTie(i)) ?? -1;
  }
  if (!spec.inputs.includes('f32')) return differing[0];
  const moved = [1 - NUDGE, 1 + NUDGE].map((factor) => {
    const other = x.slice();
    for (const i of differing) other[i] = Math.fround(x[i] * factor);
    return spec.quantize({ ...t, input: 'f32' }, other).codes;
  });
  return differing.find((i) => moved.every((codes) => codes[i] !== found.codes[i])) ?? -1;
}

function compareCodes(
  spec: FormatSpec,
  t: HeadTensor,
  x: Float64Array,
  found: Codes,
  eitherTie: boolean,
  place: string,
): Verdict | null {
  const required = spec.quantize(t, x);
  for (const kind of ['zeros', 'scales'] as const) {
    const type = kind === 'scales' ? spec.scaleType : spec.zeroType;
    if (type === null) continue;
    const { decode } = numberTypes[type];
    const mayDiffer = eitherTie && kind === 'scales';
    const rounded = mayDiffer ? spec.unrounded(t, x)?.scales : undefined;
    const at = required[kind].findIndex((bits, i) => {
      const [r, f] = [decode(bits), decode(found[kind][i])];
      if (sameNumber(r, f)) return false;
      return !(mayDiffer && isOtherTie(spec, rounded?.[i], f, r));
    });
    if (at === -1) continue;
    const [f, r] = [found[kind][at], required[kind][at]].map((bits) => decode(bits));
    return fail(`${t.tensor}-${kind}`, `cache (${place}) ${t.tensor}-${kind}[${at}]`, f, r);
  }
  const differing = [...required.codes.keys()].filter(
    (i) => required.codes[i] !== found.codes[i] && hasMeaning(spec, t, required, i),
  );
  if (differing.length === 0) return null;
  const at = eitherTie ? firstUntied(spec, t, x, found, required, differing) : differing[0];
  if (at === -1) return null;
  const where = `cache (${place}) ${t.tensor}-codes[${at}], of the value ${x[at]}`;
  return fail(`${t.tensor}-codes`, where, found.codes[at], required.codes[at]);
}

/** Values that the kernel gives, against those of the spec: a few roundings in fp16 apart. */
function compareValues(found: Float64Array, required: Float64Array, tensor: string, place: string) {
  const largest = required.reduce((max, x) => Math.max(max, Math.abs(x)), 0);
  const at = required.findIndex((x, i) => {
    return !(sameNumber(x, found[i]) || Math.abs(found[i] - x) <= 4 * u16 * largest);
  });
  if (at === -1) return null;
  return fail(`${tensor}-values`, `${tensor}[${at}] (${place})`, found[at], required[at]);
}

function compareHead(judgement: Judgement, ran: Ran, tensor: TensorName, index: number) {
  const { case: c, inputs, kernel } = judgement;
  const { capabilities } = kernel;
  const { kvHeads, headSize, tokens } = c.problem;
  const [request, head] = [Math.floor(index / kvHeads), index % kvHeads];
  const place = `request ${request}, KV head ${head}`;
  const count = quantizedTokens(tokens[request], capabilities);
  const first = firstTokens(c.problem)[request];
  const packed = ran.stored?.packed?.[tensor][index];
  const spec = specOf(c.scheme);
  if (packed !== undefined && spec !== null) {
    if (count === 0) return null;
    const t = headTensor(spec, c.scheme, tensor, count, headSize);
    const x = f64Array(headRows(c.problem, inputs[tensor], head, first, count));
    const found = spec.unpack(t, packed);
    return compareCodes(spec, t, x, found, capabilities.eitherTie === true, place);
  }
  if (ran.stored?.values === undefined) return null;
  const without = { ...ran, stored: {} };
  const required = storedRows(c, capabilities, inputs, without, tensor, index);
  const found = storedRows(c, capabilities, inputs, ran, tensor, index);
  return compareValues(found, required, tensor, place);
}

function compareQuery(judgement: Judgement, query: Float32Array): Verdict | null {
  const { headSize } = judgement.case.problem;
  const { q } = judgement.inputs;
  for (let from = 0; from < q.length; from += headSize) {
    const row = Array.from(q.subarray(from, from + headSize), f64FromF16);
    if (!row.every(Number.isFinite)) continue;
    const allowed = QUERY_STEP * Math.max(...row.map(Math.abs)) + 2 ** -17;
    const at = row.findIndex((x, i) => !(Math.abs(query[from + i] - x) <= allowed));
    if (at !== -1) return fail('q-values', `query[${from + at}]`, query[from + at], row[at]);
  }
  return null;
}

/** The verdict of exact-codes on a kernel whose layout is `values`. */
export function judgeStored(judgement: Judgement, ran: Ran): Verdict {
  const { stored = {} } = ran;
  if (stored.packed === undefined && stored.values === undefined) {
    return { kind: 'unsupported', reason: 'the kernel gives no access to its cache' };
  }
  const { tokens, kvHeads } = judgement.case.problem;
  for (let index = 0; index < tokens.length * kvHeads; index++) {
    for (const tensor of ['k', 'v'] as const) {
      const failed = compareHead(judgement, ran, tensor, index);
      if (failed !== null) return failed;
    }
  }
  const query = stored.query === undefined ? null : compareQuery(judgement, stored.query);
  if (query !== null) return query;
  const { k, v } = judgement.inputs;
  return { kind: 'pass', elements: k.length + v.length, ratio: 0 };
}
