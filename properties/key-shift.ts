// key-shift: one constant vector added to all keys of a head adds the same number to all scores, so
// the output stays and lse grows by that number. Keys are drawn on the quantisation grid and stay
// on it, so the cache holds exactly the shifted keys; what is required comes from float64 attention
// over the keys before the shift. The vector points along a query (or against it), so that scores
// move by hundreds: a forgotten or fixed maximum, and scores kept in fp16, do not survive that.

import { attend } from '../reference/attention.js';
import { readCache, referenceCache } from '../reference/cache.js';
import { elementFromF64, elementValues, elementWords } from '../reference/format.js';
import { elementType, firstTokens, queriesPerKvHead } from '../reference/problem.js';
import { gridCodeMax } from '../reference/scheme.js';
import { accept, verdictOf } from './acceptance.js';
import type { Case } from './case.js';
import { below, derive, type Key, word } from './generator.js';
import { hasSharedTokens, tokenOwner } from './pages.js';
import type { Judgement, Property, Verdict } from './property.js';
import { rowOf, rowPlaces } from './rows.js';
import { notRecords } from './stored.js';

const NAME = 'key-shift';
/** Unit of the grid; codes and shifts are whole numbers of it, exact in fp16, or in bf16. */
const UNIT = 2 ** -3;
const SHIFTS = { fp16: 9, bf16: 8 } as const;
/** Every group of tokens is a multiple of this and holds the lowest and the highest level. */
const BLOCK = 32;

interface Shifted {
  readonly before: Uint16Array; // (sum of tokens, kvHeads, headSize)
  readonly after: Uint16Array;
  /** What is added to a key, (requests, kvHeads, headSize). */
  readonly shift: Float64Array;
}

/**
 * 2^0 .. 2^8 units along a query of the head, all with one sign; one vector for a head of all
 * requests where they share tokens.
 */
function shiftsOf(c: Case, q: Uint16Array, key: Key): Float64Array {
  const { tokens, kvHeads, headSize } = c.problem;
  const ratio = queriesPerKvHead(c.problem);
  const shift = new Float64Array(tokens.length * kvHeads * headSize);
  const shared = hasSharedTokens(c);
  const shifts = SHIFTS[elementType(c.problem)];
  for (let head = 0; head < tokens.length * kvHeads; head++) {
    const source = shared ? head % kvHeads : head;
    const own = derive(key, source);
    const [request, kvHead] = [Math.floor(source / kvHeads), source % kvHeads];
    const query = rowOf(c.problem, request, 0, kvHead * ratio + below(own, 0, ratio)) * headSize;
    const size = (word(own, 1) & 1 ? 1 : -1) * 2 ** below(own, 2, shifts) * UNIT;
    for (let d = 0; d < headSize; d++) {
      // Groups along the channels keep their grid only if all of them move alike.
      const sign = c.scheme.kAxis === 'channel' && q[query + d] & 0x8000 ? -1 : 1;
      shift[head * headSize + d] = sign * size;
    }
  }
  return shift;
}

function shiftedKeys(c: Case, q: Uint16Array, key: Key): Shifted {
  const { tokens, kvHeads, headSize } = c.problem;
  const codeMax = gridCodeMax(c.scheme);
  const type = elementType(c.problem);
  const owner = tokenOwner(c);
  const shift = shiftsOf(c, q, key);
  const first = firstTokens(c.problem);
  const before = new Uint16Array(first[tokens.length] * kvHeads * headSize);
  const after = new Uint16Array(before.length);
  const units = Float64Array.from({ length: codeMax + 1 }, (_, i) => UNIT * (i - (codeMax >> 1)));
  const words = elementWords(type, units);
  tokens.forEach((length, request) => {
    for (let token = 0; token < length; token++) {
      const place = token % BLOCK;
      for (let head = 0; head < kvHeads; head++) {
        const own = derive(derive(derive(key, owner(request, token)), head), token);
        const at = ((first[request] + token) * kvHeads + head) * headSize;
        const from = (request * kvHeads + head) * headSize;
        for (let d = 0; d < headSize; d++) {
          // Along either axis every group has both ends of the range.
          const end = place < 2 ? place : d % BLOCK;
          const code = end < 2 ? end * codeMax : below(own, d, codeMax + 1);
          before[at + d] = words[code];
          after[at + d] = elementFromF64(type, units[code] + shift[from + d]);
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
    const places = rowPlaces(problem);
    const values = elementValues(elementType(problem));
    const unshifted = attend(problem, options.softmaxScale, inputs.q, heads);
    const scale = Math.fround(options.softmaxScale);
    const added = (row: number) => {
      const head = places[row].stored * headSize;
      let sum = 0;
      for (let d = 0; d < headSize; d++) {
        sum += values[inputs.q[row * headSize + d]] * shift[head + d];
      }
      return scale * sum;
    };
    // A row without tokens has no score to add to, a row without a bound keeps its class.
    const isUnmoved = (row: number) => bound.guarded[row] !== 0 || places[row].visible === 0;
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
