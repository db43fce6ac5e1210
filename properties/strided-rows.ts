// strided-rows: what lies between the rows of q, k and v is never read, and how far they are apart
// does not matter. The case itself is run with another distance; whoever runs it fills the gaps
// with poison, NaN here, so that one element read from a gap is seen.

import type { Case } from './case.js';
import { below, type Key } from './generator.js';
import type { Judgement, Property, Verdict } from './property.js';
import { notDeterministic, sameBits } from './same-bits.js';

const NAME = 'strided-rows';
const PADDINGS = [0, 8, 16, 24, 64];

function otherPadding({ options }: Case, key: Key): number {
  const others = PADDINGS.filter((padding) => padding !== (options.inputPadding ?? 0));
  return others[below(key, 0, others.length)];
}

export const stridedRows: Property = {
  name: NAME,
  statement:
    'Rows of q, k and v that lie further apart, with NaN between them, give the same bits.',
  blind: 'Gaps that are read and multiplied by nothing; distances that are no multiple of 8.',
  oneIn: 4,

  judge(judgement: Judgement): Verdict {
    const { case: c, inputs, kernel } = judgement;
    if (kernel.capabilities.strided !== true) {
      return { kind: 'unsupported', reason: 'the kernel does not declare strided tensors' };
    }
    if (!kernel.capabilities.deterministic) return notDeterministic;
    const base = judgement.base();
    if (base.kind === 'failed') return base.verdict;
    const inputPadding = otherPadding(c, judgement.key(NAME));
    const second = judgement.run(inputs, {}, { ...c, options: { ...c.options, inputPadding } });
    if (second.kind === 'failed') return second.verdict;
    const what = `with ${inputPadding} elements between rows`;
    return sameBits(NAME, judgement, base.value, second.value, what);
  },
};
