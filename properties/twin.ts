// twin: the kernel and another one give the same bits, wherever a byte must be defined. For a
// kernel and its emulation, which promise exactly that. Not in the catalogue of index.ts: it exists
// for the one twin that a campaign has opened.

import { FIRST_POISON } from './judgement.js';
import type { Kernel } from './kernel.js';
import type { Property } from './property.js';
import { sameBits } from './same-bits.js';

export const TWIN = 'twin';

export function twinOf(twin: Kernel): Property {
  return {
    name: TWIN,
    statement: `Cache, output and log-sum-exp are those of ${twin.uri} in every bit.`,
    blind: 'Mistakes that both kernels make.',
    judge(judgement) {
      const c = judgement.case;
      const unsupported = twin.supports(c);
      if (unsupported !== null) {
        return { kind: 'unsupported', reason: `${twin.uri}: ${unsupported}` };
      }
      const base = judgement.base();
      if (base.kind === 'failed') return base.verdict;
      const other = twin.run(c, judgement.inputs, { poison: FIRST_POISON });
      if (other.kind !== 'ran') {
        const message = `${twin.uri}: found ${other.kind} (${other.reason}), required a result`;
        return { kind: 'fail', signature: `${TWIN}/${other.kind}`, message };
      }
      return sameBits(TWIN, judgement, other, base.value, `where ${twin.uri} is first`);
    },
  };
}
