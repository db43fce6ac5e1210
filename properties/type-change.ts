// type-change: fp16 and bf16 tensors with the same values make the same records. Inputs are cut to
// values that both types hold (8 significant bits, fp16's normal range), run in either type, and
// the records compared byte for byte: scales, zeros and codes come from binary32 steps that do not
// know the type. The rows in the window hold the same values in other words.

import { type ElementType, elementFromF64, elementValues } from '../reference/format.js';
import { elementType, type Problem } from '../reference/problem.js';
import { isPlain } from '../reference/scheme.js';
import type { Case } from './case.js';
import type { Inputs, Ran } from './kernel.js';
import type { Judgement, Property, Verdict } from './property.js';
import { firstDifference } from './same-bits.js';

const NAME = 'type-change';

const tables = new Map<string, Uint16Array>();

/** By word of `from`, the word of `to` with its value cut to 8 bits in fp16's normal range. */
function cutWords(from: ElementType, to: ElementType): Uint16Array {
  const name = `${from} ${to}`;
  const known = tables.get(name);
  if (known !== undefined) return known;
  const [values, bf16] = [elementValues(from), elementValues('bf16')];
  const words = new Uint16Array(values.length);
  for (let word = 0; word < words.length; word++) {
    const value = bf16[elementFromF64('bf16', values[word])];
    const isHeld = Math.abs(value) >= 2 ** -14 && Math.abs(value) <= 65280;
    // NaN fails the comparison, and both types have it.
    words[word] = elementFromF64(to, isHeld || Number.isNaN(value) ? value : 0);
  }
  tables.set(name, words);
  return words;
}

function cut(x: Uint16Array, from: ElementType, to: ElementType): Uint16Array {
  const words = cutWords(from, to);
  const out = new Uint16Array(x.length);
  for (let i = 0; i < x.length; i++) out[i] = words[x[i]];
  return out;
}

function typed(c: Case, type: ElementType): Case {
  const { type: _t, ...rest } = c.problem;
  const problem: Problem = type === 'fp16' ? rest : { ...rest, type };
  return { ...c, problem };
}

function compare(first: Ran, second: Ran): Verdict {
  const at = firstDifference(first.cache, second.cache);
  if (at === -1) return { kind: 'pass', elements: first.cache.length, ratio: 0 };
  const message = `cache: found ${second.cache[at]} at byte ${at} of bf16 tensors`;
  return {
    kind: 'fail',
    signature: `${NAME}/cache`,
    message: `${message}, required ${first.cache[at]} as of fp16 tensors`,
  };
}

export const typeChange: Property = {
  name: NAME,
  statement: 'fp16 and bf16 tensors with the same values make the same records, byte for byte.',
  blind: 'Values that one of the types does not hold; everything after the records are written.',
  oneIn: 4,

  judge(judgement: Judgement): Verdict {
    const { case: c, inputs } = judgement;
    if (isPlain(c.scheme) || judgement.kernel.capabilities.layout !== 'record128') {
      return { kind: 'unsupported', reason: 'values are kept as they came' };
    }
    if (c.problem.tokens.every((n) => n < 128)) {
      return { kind: 'unsupported', reason: 'there is no record' };
    }
    const from = elementType(c.problem);
    const runs = (['fp16', 'bf16'] as const).map((type) => {
      const same: Inputs = {
        q: cut(inputs.q, from, type),
        k: cut(inputs.k, from, type),
        v: cut(inputs.v, from, type),
      };
      return judgement.run(same, {}, typed(c, type));
    });
    for (const run of runs) if (run.kind === 'failed') return run.verdict;
    const [first, second] = runs.map((run) => (run.kind === 'ok' ? run.value : null));
    return first === null || second === null
      ? { kind: 'unsupported', reason: 'one of the types was not run' }
      : compare(first, second);
  },
};
