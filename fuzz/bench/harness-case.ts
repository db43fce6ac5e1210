// harness-case.ts - what `bench harness` measures: 512 tokens with 2 KV heads, 8 query heads, head
// size 128, 4 bits, in one split, on every kernel; and for the reference a longer one of the same
// kind, where a row's sums and not its start take the time. Fixed, so that two machines and two
// versions can be compared.

import { CASE_SCHEMA, type Case } from '../../properties/case.js';
import type { Inputs } from '../../properties/kernel.js';
import { materialize, noSource } from '../../properties/materialize.js';
import type { Recipe } from '../../properties/recipe.js';

export const KERNEL_TOKENS = 512;
export const REFERENCE_TOKENS = 4096;

function normal(seed: number): Recipe {
  return { distribution: 'normal', seed, scale: 0, offset: 0 };
}

export function harnessCase(tokens: number): Case {
  return {
    schema: CASE_SCHEMA,
    problem: { tokens: [tokens], queryHeads: 8, kvHeads: 2, headSize: 128 },
    scheme: { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 },
    tensors: { q: normal(1), k: normal(2), v: normal(3) },
    options: { softmaxScale: Math.fround(1 / Math.sqrt(128)), splits: 1 },
  };
}

export function harnessInputs(c: Case): Inputs {
  const made = materialize(c, noSource);
  if (made.kind === 'error') throw new Error(made.message);
  return made.inputs;
}
