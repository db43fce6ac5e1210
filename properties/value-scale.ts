// value-scale: V times 2^k gives the output times 2^k and leaves lse alone. With folded operands
// every step commutes with the power of two, so outputs are compared bit for bit, apart from the
// rounding of subnormal outputs; for other arithmetics, whose dequantised values may be subnormal,
// the bound of the case times 2^k is used, k > 0.
//
// Heads in which a scale of V leaves the normal numbers of fp16 are left out: there quantisation
// itself does not commute.

import { normalMin, roundingUnit } from '../reference/arithmetic.js';
import type { BoundResult } from '../reference/bound.js';
import { type HeadCache, readCache } from '../reference/cache.js';
import { type ElementType, elementRound, elementValues, f16Values } from '../reference/format.js';
import { elementType } from '../reference/problem.js';
import { accept, verdictOf } from './acceptance.js';
import { below } from './generator.js';
import type { Ran } from './kernel.js';
import { pageTable } from './pages.js';
import { isPlain, scaledExactly } from './power-of-two.js';
import type { Judgement, Observation, Property, Verdict } from './property.js';
import { describeRow, rowPlaces } from './rows.js';
import { notRecords } from './stored.js';

const NAME = 'value-scale';
const EXPONENTS = [1, 4, -1, -4];

interface Scaled {
  readonly v: Uint16Array;
  readonly exponent: number;
}

function scaled(judgement: Judgement, exact: boolean): Scaled | null {
  const exponents = EXPONENTS.filter((exponent) => exact || exponent > 0);
  const start = below(judgement.key(NAME), 0, exponents.length);
  const type = elementType(judgement.case.problem);
  for (let i = 0; i < exponents.length; i++) {
    const exponent = exponents[(start + i) % exponents.length];
    const v = scaledExactly(judgement.inputs.v, exponent, type);
    if (v !== null) return { v, exponent };
  }
  return null;
}

/** Every parameter and tail value of V is normal or zero, before and after. */
function isClean(head: HeadCache, other: HeadCache): boolean {
  const scales = head.v.scales.every((bits, i) => {
    return (
      isPlain(bits) && isPlain(other.v.scales[i]) && (bits === 0) === (other.v.scales[i] === 0)
    );
  });
  // A bf16 value may lie beyond the fp16 numbers that a zero can be, or below the normal ones.
  const zeros = head.v.zeros.every((bits, i) => isPlain(bits) && isPlain(other.v.zeros[i]));
  const plain = (word: number) => isPlain(word, head.type);
  return scales && zeros && head.vResidual.every(plain) && other.vResidual.every(plain);
}

/** Codes that do not stay, or a scale that is not multiplied, in a head where that is exact. */
function cacheError(head: HeadCache, other: HeadCache, exponent: number): string | null {
  const code = head.v.codes.findIndex((x, i) => x !== other.v.codes[i]);
  if (code !== -1) {
    return `v-codes[${code}]: found ${other.v.codes[code]}, required ${head.v.codes[code]}`;
  }
  const required = (bits: number) => (bits === 0 ? 0 : bits + exponent * 1024);
  const scale = head.v.scales.findIndex((bits, i) => required(bits) !== other.v.scales[i]);
  if (scale === -1) return null;
  const [found, before] = [other.v.scales[scale], head.v.scales[scale]].map((x) => f16Values[x]);
  return `v-scales[${scale}]: found ${found}, required ${before} times 2^${exponent}`;
}

/**
 * What an output must be after it was `before`, as words, or null where nothing is required.
 */
function outputError(
  type: ElementType,
  before: number,
  after: number,
  exponent: number,
): string | null {
  const [x, y] = [elementValues(type)[before], elementValues(type)[after]];
  const required = x * 2 ** exponent;
  if (!Number.isFinite(x)) return null;
  const stored = elementRound(type, required);
  if (!Number.isFinite(stored)) {
    return y === stored ? null : `found ${y}, required ${stored}`;
  }
  const smallest = normalMin(type);
  // The smallest normal number itself may have been rounded up from the subnormal ones.
  if (Math.abs(x) > smallest && Math.abs(required) > smallest) {
    return y === required ? null : `found ${y}, required ${required}`;
  }
  // Half a subnormal quantum of each, and a rounding of the result if it is normal.
  const half = smallest * roundingUnit(type);
  const allowed = 2 ** exponent * half + half + roundingUnit(type) * Math.abs(required);
  return Math.abs(y - required) <= allowed ? null : `found ${y}, required ${required}`;
}

/** The bound of a case with V times 2^exponent, exponent > 0: absolute terms only grow less. */
function scaledBound(bound: BoundResult, exponent: number): BoundResult {
  const times = (x: Float64Array) => x.map((value) => value * 2 ** exponent);
  return {
    ...bound,
    output: times(bound.output),
    outputBound: times(bound.outputBound),
    outputRadius: times(bound.outputRadius),
    valueMax: times(bound.valueMax),
  };
}

function compareBits(
  judgement: Judgement,
  { run, bound }: Observation,
  second: Ran,
  exponent: number,
  included: (row: number) => boolean,
): Verdict {
  const { problem } = judgement.case;
  const { headSize } = problem;
  const fail = (tensor: string, place: string, error: string): Verdict => ({
    kind: 'fail',
    signature: `${NAME}/${tensor}`,
    message: `${tensor}[${place}] with V times 2^${exponent}: ${error}`,
  });
  let elements = 0;
  for (let row = 0; row < run.lse.length; row++) {
    const place = describeRow(problem, row);
    if (!Object.is(second.lse[row], run.lse[row])) {
      return fail('lse', place, `found ${second.lse[row]}, required ${run.lse[row]}`);
    }
    elements += 1;
    if (!included(row) || bound.guarded[row] !== 0) continue;
    for (let d = 0; d < headSize; d++) {
      const at = row * headSize + d;
      const error = outputError(bound.type, run.output[at], second.output[at], exponent);
      if (error !== null) return fail('output', `${place}, ${d}`, error);
    }
    elements += headSize;
  }
  return { kind: 'pass', elements, ratio: 0 };
}

export const valueScale: Property = {
  name: NAME,
  statement:
    'V times 2^k gives the output times 2^k, bit for bit where the kernel folds its scales, and ' +
    'leaves lse and the codes as they are.',
  blind: 'Errors that scale along with V; groups whose scale is subnormal in fp16.',
  oneIn: 4,

  judge(judgement: Judgement): Verdict {
    const { case: c, inputs, kernel } = judgement;
    const { arithmetic, deterministic, layout } = kernel.capabilities;
    if (layout === 'values') return notRecords;
    const exact = deterministic && arithmetic?.operands === 'folded';
    const change = scaled(judgement, exact);
    if (change === null) {
      return { kind: 'unsupported', reason: 'no power of two scales V exactly' };
    }
    const { exponent } = change;
    const reference = judgement.reference();
    if (reference.kind === 'failed') return reference.verdict;
    const second = judgement.run({ ...inputs, v: change.v });
    if (second.kind === 'failed') return second.verdict;

    const { cache, kResidual, vResidual, output, lse } = second.value;
    const { heads, bound } = reference.value;
    const others = readCache(c.problem, c.scheme, cache, kResidual, vResidual, pageTable(c));
    const clean = heads.map((head, i) => isClean(head, others[i]));
    for (const [i, head] of heads.entries()) {
      const error = clean[i] ? cacheError(head, others[i], exponent) : null;
      if (error === null) continue;
      const message = `cache of head ${i}, V times 2^${exponent}: ${error}`;
      return { kind: 'fail', signature: `${NAME}/cache`, message };
    }
    const places = rowPlaces(c.problem);
    const included = (row: number) => clean[places[row].stored];
    if (exact) return compareBits(judgement, reference.value, second.value, exponent, included);
    return verdictOf(NAME, accept(c.problem, scaledBound(bound, exponent), output, lse, included));
  },
};
