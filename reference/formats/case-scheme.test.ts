// A case's scheme: which format it names, what its tensors are, and one sentence for what no format
// has.
import { describe, expect, it } from 'vitest';
import type { Problem } from '../problem.js';
import type { Scheme } from '../scheme.js';
import { caseSchemeError, headTensor, specOf } from './case-scheme.js';

const problem: Problem = { tokens: [3], queryHeads: 1, kvHeads: 1, headSize: 128 };
const of = (format: string, kAxis: string, bits: number, group: number) =>
  ({ format, kAxis, bits, group }) as unknown as Scheme;

describe('the scheme of a case', () => {
  it('names a format of this folder, or is judged as records and rows are', () => {
    expect(specOf(of('kivi', 'channel', 4, 64))?.format).toBe('kivi');
    expect(specOf(of('bitdecoding', 'channel', 4, 64))).toBeNull();
    expect(caseSchemeError(of('bitdecoding', 'channel', 4, 64), problem)).toBeNull();
    expect(caseSchemeError(of('bitdecoding', 'channel', 3, 64), problem)).toContain('scheme.bits');
    expect(caseSchemeError(of('kivi', 'channel', 4, 64), problem)).toBeNull();
  });

  it('says the whole row by the head size', () => {
    const whole = of('turbomind-u4', 'token', 4, 128);
    expect(caseSchemeError(whole, problem)).toBeNull();
    const spec = specOf(whole);
    if (spec === null) throw new Error('turbomind-u4 is a format');
    const tensor = { tensor: 'v', tokens: 3, headSize: 128, bits: 4, group: 'all', input: 'f16' };
    expect(headTensor(spec, whole, 'v', 3, 128)).toEqual(tensor);
    const kivi = specOf(of('kivi', 'channel', 4, 64));
    if (kivi === null) throw new Error('kivi is a format');
    expect(headTensor(kivi, of('kivi', 'channel', 4, 64), 'k', 3, 128).group).toBe(64);
  });

  it.each([
    ['kAxis', of('kivi', 'token', 4, 64), 'scheme.kAxis: "token" is not one of "channel"'],
    ['bits', of('kivi', 'channel', 8, 64), 'scheme.bits: 8 is not one of 4, 2'],
    ['group', of('kivi', 'channel', 4, 16), 'scheme.group: 16 is not one of 32, 64, 128'],
    ['a given scale', of('nvfp4', 'token', 4, 16), 'which a case cannot say'],
  ])('says in one sentence what a format does not have: %s', (_, scheme, message) => {
    expect(caseSchemeError(scheme, problem)).toContain(message);
  });

  it('and which head size it does not have', () => {
    const odd = { ...problem, headSize: 80 };
    const message = 'scheme: kivi: group: 32 does not divide headSize 80';
    expect(caseSchemeError(of('kivi', 'channel', 4, 32), odd)).toBe(message);
  });
});
