// key-shift: one constant vector added to all keys of a head adds the same number to all scores, so
// the output stays and lse grows by that number. Keys are drawn on the quantisation grid and stay
// on it, so the cache holds exactly the shifted keys; what is required comes from float64 attention
// over the keys before the shift. The vector points along a query (or against it), so that scores
// move by hundreds: a forgotten or fixed maximum, and scores kept in fp16, do not survive that.

import { attend } from '../reference/attention.js';
import { readCache, referenceCache } from '../reference/cache.js';
import { f16FromF64, f64FromF16 } from '../reference/format.js';
import { firstTokens, queriesPerKvHead } from '../reference/problem.js';
import { accept, verdictOf } from './acceptance.js';
import type { Case } from './case.js';
import { below, derive, type Key, word } from './generator.js';
import type { Judgement, Property, Verdict } from './property.js';
import { notRecords } from './stored.js';

const NAME = 'key-shift';
/** Unit of the grid; codes and shifts are whole numbers of it, below 2^11 in magnitude. */
const UNIT = 2 ** -3;
const SHIFTS = 9;
/** Every group of tokens is a multiple of this and holds the lowest and the highest level. */
const BLOCK = 32;

interface Shifted {
  readonly before: Uint16Array; // (sum of tokens, kvHeads, headSize)
  readonly after: Uint16Array;
  /** What is added to a key, (requests, kvHeads, headSize). */
  readonly shift: Float64Array;
}

/** 2^0 .. 2^8 units along a query of the head, all with one sign. */
function shiftsOf(c: Case, q: Uint16Array, key: Key): Float64Array {
  const { tokens, kvHeads, headSize } = c.problem;
  const ratio = queriesPerKvHead(c.problem);
  const shift = new Float64Array(tokens.length * kvHeads * headSize);
  for (let head = 0; head < tokens.length * kvHeads; head++) {
    const own = derive(key, head);
    const query = (head * ratio + below(own, 0, ratio)) * headSize;
    const size = (word(own, 1) & 1 ? 1 : -1) * 2 ** below(own, 2, SHIFTS) * UNIT;
    for (let d = 0; d < headSize; d++) {
      shift[head * headSize + d] = q[query + d] & 0x8000 ? -size : size;
    }
  }
  return shift;
}

function shiftedKeys(c: Case, q: Uint16Array, key: Key): Shifted {
  const { tokens, kvHeads, headSize } = c.problem;
  const codeMax = 2 ** c.scheme.bits - 1;
  const shift = shiftsOf(c, q, key);
  const first = firstTokens(c.problem);
  const before = new Uint16Array(first[tokens.length] * kvHeads * headSize);
  const after = new Uint16Array(before.length);
  tokens.forEach((length, request) => {
    for (let token = 0; token < length; token++) {
      const place = token % BLOCK;
      for (let head = 0; head < kvHeads; head++) {
        const own = derive(derive(derive(key, request), head), token);
        const at = ((first[request] + token) * kvHeads + head) * headSize;
        const from = (request * kvHeads + head) * headSize;
        for (let d = 0; d < headSize; d++) {
          const code = place < 2 ? place * codeMax : below(own, d, codeMax + 1);
          const value = UNIT * (code - (codeMax >> 1));
          before[at + d] = f16FromF64(value);
          after[at + d] = f16FromF64(value + shift[from + d]);
        }
      }
    }
  });
  return { before, after, shift };
}

export const keyShift: Property = {
  name: NAME,
  statement:
    'One vector added to all keys of a head leaves the output within the bound and adds its ' +
    'score to lse.',
  blind: 'Keys off the grid; errors that a change of the running maximum does not touch.',
  oneIn: 8,

  judge(judgement: Judgement): Verdict {
    const { case: c, inputs } = judgement;
    const { problem, scheme, options } = c;
    const { headSize } = problem;
    if (judgement.kernel.capabilities.layout === 'values') return notRecords;
    if (problem.tokens.every((n) => n === 0)) {
      return { kind: 'unsupported', reason: 'there are no tokens' };
    }
    const { before, after, shift } = shiftedKeys(c, inputs.q, judgement.key(NAME));
    const observation = judgement.observe({ ...inputs, k: after });
    if (observation.kind === 'failed') return observation.verdict;
    const { run, bound } = observation.value;

    const made = referenceCache(problem, scheme, before, inputs.v);
    const heads = readCache(problem, scheme, made.cache, made.kResidual, made.vResidual);
    const unshifted = attend(problem, options.softmaxScale, inputs.q, heads);
    const ratio = queriesPerKvHead(problem);
    const scale = Math.fround(options.softmaxScale);
    const added = (row: number) => {
      const head = Math.floor(row / ratio) * headSize;
      let sum = 0;
      for (let d = 0; d < headSize; d++) {
        sum += f64FromF16(inputs.q[row * headSize + d]) * shift[head + d];
      }
      return scale * sum;
    };
    // A row without tokens has no score to add to, a row without a bound keeps its class.
    const isUnmoved = (row: number) =>
      bound.guarded[row] === 1 || problem.tokens[Math.floor(row / problem.queryHeads)] === 0;
    const expected = {
      ...bound,
      output: bound.output.map((own, i) =>
        isUnmoved(Math.floor(i / headSize)) ? own : unshifted.output[i],
      ),
      lse: bound.lse.map((own, row) => (isUnmoved(row) ? own : unshifted.lse[row] + added(row))),
    };
    return verdictOf(NAME, accept(problem, expected, run.output, run.lse));
  },
};
