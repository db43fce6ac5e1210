// query-scale: 2^k in the queries and 2^-k in the softmax scale cancel. Every step of a kernel is a
// product, a fused sum or a rounding of them, and all of these commute with powers of two as long
// as nothing is subnormal or overflows, so every bit stays. It is also the test that the softmax
// scale is an option with an effect: a kernel that ignores it sees queries of another size.

import { elementType } from '../reference/problem.js';
import { accept, verdictOf } from './acceptance.js';
import { below } from './generator.js';
import { endExponents, isPlain, scaledExactly } from './power-of-two.js';
import type { Judgement, Property, Verdict } from './property.js';
import { sameBits } from './same-bits.js';

/** Besides, those that take the queries to either end of their type. */
const EXPONENTS = [1, -1, 3, -3, 6, -6];
/** Softmax scales far from the edges of what kernels take and float32 holds. */
const SCALE_MIN = 2 ** -60;
const SCALE_MAX = 2 ** 15;

interface Scaled {
  readonly q: Uint16Array;
  readonly softmaxScale: number;
}

/** The first exponent, from a place that the case decides, with which nothing is lost. */
function scaled(judgement: Judgement): Scaled | null {
  const { q } = judgement.inputs;
  const { softmaxScale } = judgement.case.options;
  const type = elementType(judgement.case.problem);
  const allPlain = (x: Uint16Array) => x.every((word) => isPlain(word, type));
  if (!allPlain(q)) return null;
  const exponents = [...EXPONENTS, ...endExponents(q, type)].filter((exponent) => exponent !== 0);
  const start = below(judgement.key('query-scale'), 0, exponents.length);
  for (let i = 0; i < exponents.length; i++) {
    const exponent = exponents[(start + i) % exponents.length];
    const scale = softmaxScale * 2 ** -exponent;
    const other = scaledExactly(q, exponent, type);
    const inRange = Math.abs(scale) >= SCALE_MIN && Math.abs(scale) <= SCALE_MAX;
    if (inRange && other !== null && allPlain(other)) return { q: other, softmaxScale: scale };
  }
  return null;
}

export const queryScale: Property = {
  name: 'query-scale',
  statement:
    'Queries times 2^k with the softmax scale times 2^-k give the same bits if the kernel ' +
    'declares its arithmetic, else results within the same bounds.',
  blind: 'Errors that scale along with the scores; queries with subnormal elements.',
  oneIn: 4,

  judge(judgement: Judgement): Verdict {
    const { case: c, inputs, kernel } = judgement;
    const change = scaled(judgement);
    if (change === null) {
      return { kind: 'unsupported', reason: 'no power of two scales these queries exactly' };
    }
    if (judgement.kernel.capabilities.quantizesQuery === true) {
      return { kind: 'unsupported', reason: 'the kernel quantises its queries' };
    }
    const { q, softmaxScale } = change;
    const options = { ...c.options, softmaxScale };
    const second = judgement.run({ ...inputs, q }, {}, { ...c, options });
    if (second.kind === 'failed') return second.verdict;
    if (kernel.capabilities.deterministic && kernel.capabilities.arithmetic !== null) {
      const base = judgement.base();
      if (base.kind === 'failed') return base.verdict;
      const what = `with a softmax scale of ${softmaxScale}`;
      return sameBits('query-scale', judgement, base.value, second.value, what);
    }
    const reference = judgement.reference();
    if (reference.kind === 'failed') return reference.verdict;
    const { output, lse } = second.value;
    return verdictOf('query-scale', accept(c.problem, reference.value.bound, output, lse));
  },
};
