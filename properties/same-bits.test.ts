// Tests of same-bits.ts: what is missing from one of two runs is a difference, never skipped.
import { describe, expect, it } from 'vitest';
import { CASE_SCHEMA, type Case } from './case.js';
import type { Ran } from './kernel.js';
import type { Judgement } from './property.js';
import { sameBits } from './same-bits.js';

const recipe = { distribution: 'zero', seed: 0, scale: 0, offset: 0 } as const;
const c: Case = {
  schema: CASE_SCHEMA,
  problem: { tokens: [1], queryHeads: 1, kvHeads: 1, headSize: 64 },
  scheme: { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 },
  tensors: { q: recipe, k: recipe, v: recipe },
  options: { softmaxScale: 0.125, splits: 0 },
};

function ran(more: Partial<Ran> = {}): Ran {
  return {
    kind: 'ran',
    cache: new Uint8Array(0),
    kResidual: new Uint16Array(128 * 64),
    vResidual: new Uint16Array(128 * 64),
    output: new Uint16Array(64),
    lse: new Float32Array(1),
    ...more,
  } as Ran;
}

const compare = (first: Ran, second: Ran) =>
  sameBits('again', { case: c } as Judgement, first, second, 'in the second run');

describe('two runs of one case', () => {
  const values = { kValues: new Uint16Array(64).fill(7), vValues: new Uint16Array(64) };

  it('pass where every defined byte is equal', () => {
    expect(compare(ran(values), ran(values)).kind).toBe('pass');
    expect(compare(ran(), ran()).kind).toBe('pass');
  });

  it('differ where one has a buffer that the other lacks, and none is taken for another', () => {
    expect(compare(ran(values), ran())).toMatchObject({
      kind: 'fail',
      signature: 'again/k-values',
      message: 'k-values: not there in the second run, required as in the first',
    });
  });

  it('differ in one byte', () => {
    const output = new Uint16Array(64);
    output[3] = 1;
    expect(compare(ran(), ran({ output }))).toMatchObject({ signature: 'again/output' });
  });
});
