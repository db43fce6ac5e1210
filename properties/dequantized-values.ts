// dequantized-values: what a kernel reads back from its own cache is what the format says, bit for
// bit: code * scale + zero, rounded once to the type of the problem, and the rows that were kept as
// they were. The signs of zeros and the payloads of NaN are free.
//
// The cache is the kernel's own, so this is apart from exact-codes: a kernel that writes wrong
// codes must still read them rightly.

import { dequantized, keyRows, readCache, valueRows } from '../reference/cache.js';
import { elementValues } from '../reference/format.js';
import { elementType } from '../reference/problem.js';
import type { Ran } from './kernel.js';
import { pageTable } from './pages.js';
import type { Judgement, Property, Verdict } from './property.js';

const NAME = 'dequantized-values';

/** The first word that means something else, or -1. */
function firstDifference(found: Uint16Array, required: Uint16Array, values: Float64Array): number {
  return required.findIndex((word, i) => {
    if (found[i] === word) return false;
    const [x, y] = [values[found[i]], values[word]];
    return !(x === y || (Number.isNaN(x) && Number.isNaN(y)));
  });
}

function compare(judgement: Judgement, ran: Ran): Verdict {
  const { case: c } = judgement;
  const { problem, scheme } = c;
  const { cache, kResidual, vResidual } = ran;
  const heads = readCache(problem, scheme, cache, kResidual, vResidual, pageTable(c));
  const values = elementValues(elementType(problem));
  const { kvHeads, headSize } = problem;
  let elements = 0;
  for (const [tensor, found, rowsOf] of [
    ['k', ran.kValues, keyRows],
    ['v', ran.vValues, valueRows],
  ] as const) {
    if (found === undefined) {
      const message = `${tensor}Values: found nothing, required what the kernel declares it reads`;
      return { kind: 'fail', signature: `${NAME}/missing`, message };
    }
    const required = dequantized(problem, heads, rowsOf);
    const at = firstDifference(found, required, values);
    if (at !== -1) {
      const row = Math.floor(at / headSize);
      const place = `[${Math.floor(row / kvHeads)}, ${row % kvHeads}, ${at % headSize}]`;
      return {
        kind: 'fail',
        signature: `${NAME}/${tensor}-values`,
        message:
          `${tensor}Values${place} (token, KV head, channel): found ${values[found[at]]}, ` +
          `required ${values[required[at]]}`,
      };
    }
    elements += required.length;
  }
  return { kind: 'pass', elements, ratio: 0 };
}

export const dequantizedValues: Property = {
  name: NAME,
  statement:
    'Keys and values that a kernel reads back equal, bit for bit, what the format makes of the ' +
    "kernel's own cache.",
  blind: 'Whether the cache is right (exact-codes), and whether decoding reads the same values.',

  judge(judgement: Judgement): Verdict {
    const { dequantize, layout } = judgement.kernel.capabilities;
    if (dequantize !== true || layout !== 'record128') {
      return {
        kind: 'unsupported',
        reason: 'the kernel does not declare that it reads values back',
      };
    }
    const base = judgement.base();
    return base.kind === 'failed' ? base.verdict : compare(judgement, base.value);
  },
};
