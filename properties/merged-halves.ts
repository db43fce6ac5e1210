// merged-halves: two halves of a request, attended by themselves and merged by their lse, give the
// whole. Each request is cut at a record boundary (which may be its beginning or its end) into two
// requests of one batch; outputs and lse of the halves are merged in float64 and compared with the
// float64 attention of the whole. That holds lse and output against each other: an lse in another
// base or unit is right by itself and wrong here.
//
// With halves a and b: t = 1 / (1 + e^(lse_b - lse_a)), output = t a + (1 - t) b. The allowed error
// is t bound_a + (1 - t) bound_b + |a - b| times the change of t when both lse move by their
// bounds.

import { packedTokens } from '../reference/cache.js';
import { exp2, ln2, log2, log2e } from '../reference/exp.js';
import { elementRound, elementValues } from '../reference/format.js';
import { queryTokenCount } from '../reference/problem.js';
import { recordTokens } from '../reference/scheme.js';
import type { Case } from './case.js';
import { below } from './generator.js';
import { unshared } from './pages.js';
import {
  type Judgement,
  manyQueryTokens,
  type Observation,
  type Property,
  type Verdict,
  type Worst,
} from './property.js';
import { cutsAtRecords, otherBlocks } from './stored.js';

const NAME = 'merged-halves';
/** Of the float64 arithmetic here, relative. */
const SLACK = 2 ** -40;

/** A request's two halves, one row: what the kernel gave and how wrong it may be. */
interface Half {
  readonly row: number;
  readonly lse: number;
  readonly lseBound: number;
}

/** Share of half a; apart: lse_b - lse_a, and NaN stays NaN. */
function share(apart: number): number {
  if (apart === Number.POSITIVE_INFINITY) return 0;
  if (apart === Number.NEGATIVE_INFINITY) return 1;
  return apart > 0
    ? exp2(-apart * log2e) / (1 + exp2(-apart * log2e))
    : 1 / (1 + exp2(apart * log2e));
}

function mergedLse(a: number, b: number): number {
  const [low, high] = a < b ? [a, b] : [b, a];
  if (low === Number.NEGATIVE_INFINITY) return high;
  return high + ln2 * log2(1 + exp2((low - high) * log2e));
}

function ratioOf(value: number, reference: number, bound: number): number {
  const ratio = value === reference ? 0 : Math.abs(value - reference) / bound;
  return Number.isNaN(ratio) ? Number.POSITIVE_INFINITY : ratio;
}

/** The worst elements of one row of the whole, merged from two rows of the halves. */
function mergeRow(
  whole: Observation,
  halves: Observation,
  a: Half,
  b: Half,
  row: number,
  size: number,
) {
  // Two empty halves: -Inf twice, and both outputs are zero.
  const apart = a.lse === Number.NEGATIVE_INFINITY && b.lse === a.lse ? 0 : b.lse - a.lse;
  const t = share(apart);
  const moved = a.lseBound + b.lseBound;
  const uncertain = Math.max(
    Math.abs(share(apart - moved) - t),
    Math.abs(share(apart + moved) - t),
  );
  const { output, outputBound, type } = halves.bound;
  const values = elementValues(type);
  const of = (half: Half, d: number) => {
    const at = half.row * size + d;
    return { value: values[halves.run.output[at]], bound: outputBound[at], exact: output[at] };
  };
  let worst: Worst | null = null;
  for (let d = 0; d < size; d++) {
    const [x, y] = [of(a, d), of(b, d)];
    // A half that may overflow says nothing about the whole.
    const bothFinite = [x, y].every(({ exact, bound }) =>
      Number.isFinite(elementRound(type, Math.abs(exact) + bound)),
    );
    if (!bothFinite) continue;
    const value = (t === 0 ? 0 : t * x.value) + (t === 1 ? 0 : (1 - t) * y.value);
    const spread = Math.abs(x.exact - y.exact) * uncertain;
    const scale = Math.abs(x.value) + Math.abs(y.value);
    const bound = t * x.bound + (1 - t) * y.bound + spread + SLACK * scale;
    const reference = whole.bound.output[row * size + d];
    const ratio = ratioOf(value, reference, bound);
    if (worst !== null && ratio <= worst.ratio) continue;
    worst = { tensor: 'output', index: [row, d], value, reference, bound, ratio };
  }
  const value = mergedLse(a.lse, b.lse);
  const reference = whole.bound.lse[row];
  const bound = Math.max(a.lseBound, b.lseBound) + SLACK * (1 + Math.abs(reference));
  const ratio = ratioOf(value, reference, bound);
  const lse: Worst = { tensor: 'lse', index: [row], value, reference, bound, ratio };
  return { output: worst as Worst | null, lse };
}

function compare(c: Case, whole: Observation, halves: Observation): Verdict {
  const { queryHeads, headSize, tokens } = c.problem;
  let elements = 0;
  let largest = 0;
  for (let row = 0; row < tokens.length * queryHeads; row++) {
    const [request, head] = [Math.floor(row / queryHeads), row % queryHeads];
    const [a, b] = [0, 1].map((half): Half => {
      const own = (2 * request + half) * queryHeads + head;
      return { row: own, lse: halves.run.lse[own], lseBound: halves.bound.lseBound[own] };
    });
    const { guarded } = halves.bound;
    if (whole.bound.guarded[row] + guarded[a.row] + guarded[b.row] > 0) continue;
    const { output, lse } = mergeRow(whole, halves, a, b, row, headSize);
    for (const worst of [output, lse]) {
      if (worst === null) continue;
      if (!(worst.ratio <= 1)) return failed(worst, request, head);
      largest = Math.max(largest, worst.ratio);
    }
    elements += headSize + 1;
  }
  return { kind: 'pass', elements, ratio: largest };
}

function failed(worst: Worst, request: number, head: number): Verdict {
  const { tensor, value, reference, bound } = worst;
  const index = [request, head, ...worst.index.slice(1)];
  const required = `required ${reference} within ${bound}`;
  return {
    kind: 'fail',
    signature: `${NAME}/${tensor}`,
    message: `merged ${tensor}[${index.join(', ')}]: found ${value}, ${required}`,
    worst: { ...worst, index },
  };
}

export const mergedHalves: Property = {
  name: NAME,
  statement:
    'Two halves of every request, merged by their lse, give the attention of the whole within ' +
    'the bounds of the halves.',
  blind: 'Errors that both halves share; how the kernel itself merges splits (split-count).',
  oneIn: 8,

  judge(judgement: Judgement): Verdict {
    if (!cutsAtRecords(judgement)) return otherBlocks;
    if (judgement.kernel.capabilities.lse === false) {
      return { kind: 'unsupported', reason: 'the kernel gives no lse' };
    }
    const { case: c, inputs } = judgement;
    const { tokens, queryHeads, headSize } = c.problem;
    if (queryTokenCount(c.problem) > 1) return manyQueryTokens;
    if (tokens.every((n) => n === 0)) return { kind: 'unsupported', reason: 'there are no tokens' };
    const whole = judgement.reference();
    if (whole.kind === 'failed') return whole.verdict;
    const key = judgement.key(NAME);
    const halves = tokens.flatMap((n, request) => {
      const records = packedTokens(n) / recordTokens;
      const cut = below(key, request, records + 1) * recordTokens;
      return [cut, n - cut];
    });
    // The halves of a request follow one another as its tokens do: only the queries are repeated.
    const size = queryHeads * headSize;
    const q = new Uint16Array(2 * inputs.q.length);
    for (let i = 0; i < halves.length; i++) {
      const request = i >> 1;
      q.set(inputs.q.subarray(request * size, (request + 1) * size), i * size);
    }
    const cut = { ...unshared(c), problem: { ...c.problem, tokens: halves } };
    const observation = judgement.observe({ ...inputs, q }, {}, cut);
    if (observation.kind === 'failed') return observation.verdict;
    return compare(c, whole.value, observation.value);
  },
};
