// Generated cases are well-formed, cheap and reach the edges; stored cases shrink to the minimum.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CASE_SCHEMA, type Case, canonicalJson, multiplyAdds } from '../case.js';
import type { Capabilities } from '../kernel.js';
import { parseCase } from '../parse-case.js';
import { DISTRIBUTIONS, isNonFinite } from '../recipe.js';
import { anyCase, caseArbitrary, defaultSpace } from './case.js';
import { CROWDS, RARE_KINDS } from './rare.js';

const capabilities: Capabilities = {
  name: 'test',
  formats: [
    {
      format: 'bitdecoding',
      kAxis: ['channel'],
      bits: [4, 2],
      groups: [128, 32],
      headSizes: [128],
    },
  ],
  layout: 'record128',
  tokensMax: 1500,
  headsPerKvMax: 16,
  arithmetic: null,
  tiles: [8, 16, 128],
  deterministic: true,
  emulated: false,
  checked: false,
};

const sample = (count: number, options = {}): Case[] =>
  fc.sample(caseArbitrary(capabilities, options), { numRuns: count, seed: 5 });

/** What fast-check's runner does: the first smaller case that still fails, until there is none. */
function shrink(arbitrary: fc.Arbitrary<Case>, start: Case, fails: (c: Case) => boolean) {
  let current = start;
  let context: unknown;
  let tries = 0;
  search: for (;;) {
    for (const candidate of arbitrary.shrink(current, context)) {
      tries += 1;
      if (!fails(candidate.value)) continue;
      current = candidate.value;
      context = candidate.context;
      continue search;
    }
    return { case: current, tries };
  }
}

/** A case as it comes from a file: shapes and values that generation would never draw. */
const stored: Case = {
  schema: CASE_SCHEMA,
  problem: {
    tokens: [700, 0, 9999, 129, 3, 5, 6, 7, 8, 9, 10],
    queryHeads: 99,
    kvHeads: 9,
    headSize: 128,
  },
  scheme: { format: 'bitdecoding', kAxis: 'channel', bits: 2, group: 64 },
  tensors: {
    q: { distribution: 'code-lm', layer: 4, firstToken: 77 },
    k: { distribution: 'non-finite', seed: 3000000000, scale: -20, offset: 2047 },
    v: { distribution: 'patchwork', seed: 12, scale: 15, offset: -100 },
  },
  options: { softmaxScale: Math.fround(0.0713), splits: 100 },
};

const parsedStored = (): Case => {
  const parsed = parseCase(JSON.parse(canonicalJson(stored)));
  if (parsed.kind === 'error') throw new Error(parsed.message);
  return parsed.case;
};

const zero = { distribution: 'zero', seed: 0, scale: 0, offset: 0 };
const least = {
  schema: CASE_SCHEMA,
  problem: { tokens: [0], queryHeads: 1, kvHeads: 1, headSize: 128 },
  scheme: { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 },
  tensors: { q: zero, k: zero, v: zero },
  options: { softmaxScale: Math.fround(1 / Math.sqrt(128)), splits: 0 },
};

describe('generated cases', () => {
  const cases = sample(3000, { codeLm: true, nonFinite: true });

  it('are well-formed, unchanged by canonical JSON, and within the budget', () => {
    for (const c of cases) {
      expect(parseCase(JSON.parse(canonicalJson(c)))).toEqual({ kind: 'case', case: c });
      expect(multiplyAdds(c.problem)).toBeLessThanOrEqual(defaultSpace.multiplyAddsMax);
    }
  });

  it('stay within the capabilities', () => {
    for (const { problem, scheme } of cases) {
      expect(Math.max(...problem.tokens)).toBeLessThanOrEqual(capabilities.tokensMax);
      expect(problem.queryHeads / problem.kvHeads).toBeLessThanOrEqual(16);
      expect([1, 2, 3, 4, 5, 6, 7, 8, ...CROWDS]).toContain(problem.tokens.length);
      expect([128, 32]).toContain(scheme.group);
    }
  });

  it('reach the edges of every tile, tiny lengths, awkward ratios and every distribution', () => {
    const lengths = new Set(cases.flatMap((c) => c.problem.tokens));
    for (const tile of [8, 16, 128, 256, 384]) {
      for (const near of [-1, 0, 1]) expect(lengths).toContain(tile + near);
    }
    for (const tiny of [0, 1, 2]) expect(lengths).toContain(tiny);
    const ratios = new Set(cases.map(({ problem: p }) => p.queryHeads / p.kvHeads));
    // 13 is no ratio by itself; it comes of query rows that are laid around tiles.
    expect([...ratios].sort((a, b) => a - b)).toEqual([
      ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
    ]);
    const requests = new Set(cases.map((c) => c.problem.tokens.length));
    const crowds = [...requests].filter((n) => n > 8);
    expect([...requests].filter((n) => n <= 8).sort()).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    // Crowds are rare: most of their sizes are met, and no other.
    expect(crowds.length).toBeGreaterThan(CROWDS.length / 2);
    for (const n of crowds) expect(CROWDS).toContain(n);
    for (const tensor of ['q', 'k', 'v'] as const) {
      const names = new Set(cases.map((c) => c.tensors[tensor].distribution));
      expect(names).toEqual(new Set([...DISTRIBUTIONS, 'code-lm']));
    }
    const schemes = new Set(cases.map(({ scheme: s }) => `${s.bits}/${s.group}`));
    expect(schemes.size).toBe(4);
    expect(new Set(cases.map((c) => c.options.splits)).size).toBeGreaterThanOrEqual(10);
  });

  it('mix requests: equal ones, ladders, one long beside tiny ones, empty ones between', () => {
    const mixes = cases.map(({ problem }) => problem.tokens).filter((n) => n.length >= 4);
    const share = (is: (lengths: number[]) => boolean) =>
      mixes.filter((lengths) => is([...lengths])).length / mixes.length;
    const steps = (n: number[]) => n.slice(1).map((x, i) => x - n[i]);
    expect(share((n) => n[0] > 3 && steps(n).every((d) => d === 0))).toBeGreaterThan(0.02);
    expect(share((n) => steps(n).every((d) => d === 1))).toBeGreaterThan(0.02);
    expect(
      share(
        (n) =>
          n.filter((x) => x > 128).length === 1 && n.filter((x) => x < 4).length === n.length - 1,
      ),
    ).toBeGreaterThan(0.02);
    expect(
      share((n) => n.every((x, i) => x === 0 || n[i + 1] === 0 || i + 1 === n.length)),
    ).toBeGreaterThan(0.02);
  });

  it('put tails of every tile behind several records, and splits beside record counts', () => {
    const tails = new Set(
      cases.flatMap((c) => c.problem.tokens.filter((n) => n > 384)).map((n) => n % 128),
    );
    for (const tail of [0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127]) {
      expect(tails).toContain(tail);
    }
    const apart = cases
      .filter(({ options }) => options.splits > 1)
      .map((c) => Math.max(...c.problem.tokens.map((n) => Math.floor(n / 128))) - c.options.splits);
    for (const difference of [-1, 0, 1]) {
      expect(apart.filter((x) => x === difference).length).toBeGreaterThan(20);
    }
  });

  it('fill a part of a tile with query rows, and windows of many heads', () => {
    const many = { ...capabilities, queryTokensMax: 8 };
    const drawn = fc.sample(caseArbitrary(many), { numRuns: 1000, seed: 3 });
    const rowsOf = ({ problem: p }: Case) => ((p.queryTokens ?? 1) * p.queryHeads) / p.kvHeads;
    const beyond = drawn.filter((c) => rowsOf(c) > 8 && rowsOf(c) % 8 !== 0);
    expect(beyond.length).toBeGreaterThan(100);
    // Rows on either side of a tile, and records behind them.
    const rows = beyond.filter((c) => Math.max(...c.problem.tokens) >= 128).map(rowsOf);
    for (const n of [9, 12, 15, 18, 25]) expect(rows).toContain(n);
    const wide = { always: 'wide' } as const;
    const elements = fc.sample(caseArbitrary(many, wide), { numRuns: 50, seed: 3 }).map((c) => {
      const { kvHeads, headSize, tokens } = c.problem;
      return kvHeads * headSize * (tokens[0] % 128);
    });
    expect(elements.filter((n) => n > 2 ** 16).length).toBeGreaterThan(20);
  });

  it('take slices of the real cache at its head size, whatever shape they get', () => {
    const [format] = capabilities.formats;
    const sizes = { ...capabilities, formats: [{ ...format, headSizes: [128, 64, 256] }] };
    for (const always of RARE_KINDS) {
      const space = caseArbitrary(sizes, { codeLm: true, always });
      for (const { problem, tensors } of fc.sample(space, { numRuns: 300, seed: 5 })) {
        const real = Object.values(tensors).some((t) => t.distribution === 'code-lm');
        if (real) expect(problem.headSize).toBe(128);
      }
    }
  });

  it('come in swarms: often all requests and tensors have something in common', () => {
    const alike = cases.filter(({ tensors: { q, k, v } }) => {
      return q.distribution === k.distribution && k.distribution === v.distribution;
    });
    const normal = alike.filter(({ tensors }) => tensors.q.distribution === 'normal');
    // Drawn independently at the odds of the table, three equal ones come in 1.2 % of the cases.
    expect(alike.length / cases.length).toBeGreaterThan(0.024);
    expect(normal.length).toBeLessThan(alike.length / 2);
  });

  it('hold no slice of the real cache and nothing non-finite unless asked', () => {
    for (const { tensors } of sample(500)) {
      for (const { distribution } of Object.values(tensors)) {
        expect(distribution === 'code-lm' || isNonFinite(distribution)).toBe(false);
      }
    }
  });

  it('never exceed a small budget, whatever has to go', () => {
    for (const c of sample(500, { multiplyAddsMax: 5000 })) {
      expect(multiplyAdds(c.problem)).toBeLessThanOrEqual(5000);
    }
  });
});

describe('a stored case', () => {
  it.each([
    ['anyCase', anyCase],
    ['caseArbitrary of a kernel that could not run it', caseArbitrary(capabilities)],
  ])('shrinks to the minimum through %s', (_name, arbitrary) => {
    const { case: smallest } = shrink(arbitrary, parsedStored(), () => true);
    expect(smallest).toEqual(least);
  });

  it('shrinks to one request of one token where a token is needed', () => {
    const fails = (c: Case) => c.problem.tokens.some((n) => n > 0);
    const { case: smallest, tries } = shrink(anyCase, parsedStored(), fails);
    expect(smallest.problem).toEqual({ ...least.problem, tokens: [1] });
    expect(tries).toBeLessThan(100);
  });

  it('shrinks to exactly the boundary that a failure needs', () => {
    const fails = ({ problem, tensors, options }: Case) =>
      problem.tokens.some((n) => n % 128 === 1 && n > 128) &&
      problem.kvHeads >= 2 &&
      problem.queryHeads / problem.kvHeads >= 9 &&
      tensors.v.distribution !== 'zero' &&
      options.splits > 5;
    const { case: smallest } = shrink(anyCase, parsedStored(), fails);
    expect(smallest).toEqual({
      ...least,
      problem: { tokens: [129], queryHeads: 18, kvHeads: 2, headSize: 128 },
      tensors: { ...least.tensors, v: { ...zero, distribution: 'constant' } },
      options: { ...least.options, splits: 6 },
    });
  });

  it('shrinks when it is given to the runner as an example', () => {
    const details = fc.check(
      fc.property(anyCase, (c) => c.problem.kvHeads < 2),
      { examples: [[parsedStored()]], numRuns: 1, seed: 1 },
    );
    expect(details.counterexample?.[0].problem).toEqual({
      ...least.problem,
      kvHeads: 2,
      queryHeads: 2,
    });
    expect(details.numShrinks).toBeGreaterThan(5);
  });

  it('keeps its canonical form at every step', () => {
    let steps = 0;
    for (const { value } of anyCase.shrink(parsedStored(), undefined)) {
      expect(parseCase(JSON.parse(canonicalJson(value)))).toEqual({ kind: 'case', case: value });
      steps += 1;
    }
    expect(steps).toBeGreaterThan(50);
  });

  it('with a literal tensor does not shrink, and says so by offering nothing', () => {
    const literal: Case = {
      ...stored,
      tensors: { ...stored.tensors, q: { distribution: 'literal', f16: '' } },
    };
    expect([...caseArbitrary(capabilities).shrink(literal, undefined)]).toEqual([]);
  });
});
