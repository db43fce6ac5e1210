// The relations: none of them fails on the right kernel, on any generated case, and each of them
// sees the flaw that it exists for. A property that catches nothing would be a defect.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { anyArithmetic } from '../reference/arithmetic.js';
import { type Case, caseHash } from './case.js';
import { FLAWS, FlawedKernel, type PlantedFlaw } from './flawed-kernel.js';
import { caseArbitrary, properties, propertiesFor } from './index.js';
import { judgementOf } from './judgement.js';
import type { Kernel, Ran } from './kernel.js';
import { materialize, noSource } from './materialize.js';
import type { Property, Verdict } from './property.js';
import { RecalledKernel } from './recalled-kernel.js';
import { ReferenceKernel } from './reference-kernel.js';
import { ChangedKernel } from './spoiled-kernel.js';

const right = new ReferenceKernel();
const SMALL = { multiplyAddsMax: 2 ** 18, tokensMax: 600, deepTokensMax: 600, longTokensMax: 600 };

const sample = (count: number, seed: number, options = {}): Case[] =>
  fc.sample(caseArbitrary(right.capabilities, { ...SMALL, ...options }), { numRuns: count, seed });

function judge(kernel: Kernel, c: Case, property: Property): Verdict {
  const made = materialize(c, noSource);
  if (made.kind === 'error') throw new Error(made.message);
  return property.judge(judgementOf(kernel, c, made.inputs, noSource));
}

const named = (name: string): Property => {
  const property = properties.find((p) => p.name === name);
  if (property === undefined) throw new Error(`there is no property ${name}`);
  return property;
};

const drawn = sample(600, 11, { nonFinite: true });

/** Cases on which a flaw shows; all tensors normal where it needs ordinary values. */
function casesFor(flaw: PlantedFlaw, count: number): Case[] {
  const normal = (c: Case): Case => {
    const recipe = { distribution: 'normal', seed: 1, scale: 0, offset: 0 } as const;
    const softmaxScale = Math.fround(1 / Math.sqrt(128));
    return {
      ...c,
      tensors: { q: recipe, k: { ...recipe, seed: 2 }, v: { ...recipe, seed: 3 } },
      options: { ...c.options, softmaxScale },
    };
  };
  const { kind } = flaw;
  const from = kind === undefined ? drawn : sample(200, 11, { nonFinite: true, always: kind });
  const shown = from.filter(flaw.shows);
  const cases = shown.length >= count ? shown : from.map(normal).filter(flaw.shows);
  return cases.slice(0, count);
}

describe('the right kernel', () => {
  const cases = [
    ...sample(38, 4, { nonFinite: true }),
    ...sample(10, 4, { nonFinite: true, always: 'shared' }),
  ];
  const applied = new Map<string, number>();
  // What is declared changes what is judged and no bit of a run.
  const runs = new RecalledKernel(right);

  it.each([
    ['declares its arithmetic', right.capabilities.arithmetic],
    ['declares nothing', null],
    ['declares dequantised operands', { ...anyArithmetic, operands: 'dequantized' as const }],
  ])(
    'fails nowhere when it %s',
    (_name, arithmetic) => {
      const kernel = new ChangedKernel(runs, 'ref:', (_c, _inputs, ran) => ran, { arithmetic });
      for (const c of cases) {
        const made = materialize(c, noSource);
        if (made.kind === 'error') throw new Error(made.message);
        const judgement = judgementOf(kernel, c, made.inputs, noSource);
        for (const property of properties) {
          const verdict = property.judge(judgement);
          const { name } = property;
          if (verdict.kind === 'fail') expect({ name, verdict, case: c }).toBe('no failure');
          if (verdict.kind === 'pass') applied.set(name, (applied.get(name) ?? 0) + 1);
        }
      }
    },
    300_000,
  );

  it('is judged by every relation that needs no emulator, often', () => {
    for (const { name } of properties) {
      if (name === 'memory-laws' || name === 'schedule-independence') continue;
      expect([name, (applied.get(name) ?? 0) >= cases.length / 8]).toEqual([name, true]);
    }
  });

  it('passes the laws of the emulator when it says that it is one', () => {
    for (const flaw of FLAWS) {
      const { capabilities } = flaw;
      if (capabilities === undefined) continue;
      const plant = () => (_c: Case, _inputs: unknown, ran: Ran, options: object) => ({
        ...ran,
        scheduleHash: JSON.stringify(options),
      });
      const kernel = new FlawedKernel(right, { ...flaw, plant });
      for (const c of cases.slice(0, 10)) {
        expect(judge(kernel, c, named(flaw.property))).toMatchObject({ kind: 'pass' });
      }
    }
  });
});

describe.each(FLAWS.map((flaw) => [flaw.property, flaw] as const))('%s', (name, flaw) => {
  it(`sees that ${flaw.story}`, () => {
    const cases = casesFor(flaw, 20);
    expect(cases.length).toBe(20);
    const verdicts = cases.map((c) => judge(new FlawedKernel(right, flaw), c, named(name)));
    const failed = verdicts.filter(({ kind }) => kind === 'fail');
    expect(failed.length).toBeGreaterThanOrEqual(flaw.share * cases.length);
    for (const verdict of failed) {
      if (verdict.kind !== 'fail') continue;
      expect(verdict.signature).toMatch(/^[a-z-]+\/[a-z-]+$/);
      expect(verdict.signature.startsWith(`${name}/`)).toBe(true);
      expect(verdict.message).not.toContain('\n');
    }
  });
});

describe('refusal', () => {
  const { formats } = right.capabilities;
  // Plain rows have no bits and no format to get wrong.
  const [c] = sample(20, 1).filter(({ scheme }) => scheme.format === 'bitdecoding');

  it.each([
    ['bits', (x: Case) => ({ ...x, scheme: { ...x.scheme, bits: 4 as const } })],
    ['group', (x: Case) => ({ ...x, scheme: { ...x.scheme, group: 128 as const } })],
    ['axis', (x: Case) => ({ ...x, scheme: { ...x.scheme, kAxis: 'channel' as const } })],
    ['format', (x: Case) => ({ ...x, scheme: { ...x.scheme, format: 'bitdecoding' as const } })],
    ['head-size', (x: Case) => ({ ...x, problem: { ...x.problem, headSize: 128 } })],
    ['tokens', (x: Case) => ({ ...x, problem: { ...x.problem, tokens: [1] } })],
    ['query-tokens', (x: Case) => ({ ...x, problem: { ...x.problem, queryTokens: 1 } })],
    ['heads', (x: Case) => ({ ...x, problem: { ...x.problem, queryHeads: x.problem.kvHeads } })],
  ])('sees a kernel that does not look at %s', (rule, blinded) => {
    const kernel = new FlawedKernel(right, FLAWS[0]);
    kernel.supports = (x) => right.supports(blinded(x));
    expect(judge(kernel, c, named('refusal'))).toMatchObject({
      kind: 'fail',
      signature: `refusal/${rule}`,
    });
  });

  it('takes the declaration at its word', () => {
    const narrow = formats.map((format) => ({ ...format, bits: [4] }));
    const flaw = { ...FLAWS[0], capabilities: { formats: narrow } };
    expect(judge(new FlawedKernel(right, flaw), c, named('refusal'))).toMatchObject({
      kind: 'fail',
      signature: 'refusal/bits',
    });
  });
});

describe('a run that a relation adds', () => {
  it('must keep the laws of memory, whatever the relation is about', () => {
    const plant =
      () =>
      (_c: Case, { q }: { q: Uint16Array }, ran: Ran) => {
        if (q.some((bits) => bits !== 0)) return ran;
        const violation = { buffer: 'output', kind: 'redzone', offset: 256, count: 2 } as const;
        return { ...ran, violations: [violation] };
      };
    const kernel = new FlawedKernel(right, { ...FLAWS[0], plant });
    const [c] = casesFor(FLAWS[FLAWS.length - 1], 1);
    expect(judge(kernel, c, named('redzone'))).toMatchObject({ kind: 'pass' });
    expect(judge(kernel, c, named('zero-query'))).toMatchObject({
      kind: 'fail',
      signature: 'run/redzone-output',
    });
  });
});

describe('the choice of properties for a generated case', () => {
  const cases = sample(800, 9);

  it('is a function of the case, and takes each property as often as it says', () => {
    const taken = new Map<string, number>();
    for (const c of cases) {
      const names = propertiesFor(c).map(({ name }) => name);
      expect(propertiesFor({ ...c }).map(({ name }) => name)).toEqual(names);
      for (const name of names) taken.set(name, (taken.get(name) ?? 0) + 1);
    }
    const distinct = new Set(cases.map(caseHash)).size;
    for (const { name, oneIn = 1 } of properties) {
      const expected = distinct / oneIn;
      const apart = Math.abs((taken.get(name) ?? 0) - expected);
      // Five standard deviations, and the few cases that were drawn twice.
      expect([name, apart <= 5 * Math.sqrt(expected) + cases.length - distinct]).toEqual([
        name,
        true,
      ]);
    }
  });
});
