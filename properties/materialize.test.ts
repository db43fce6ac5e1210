// What each distribution promises, and where values come from.
import { describe, expect, it } from 'vitest';
import { f64FromF16 } from '../reference/format.js';
import { quantizeK, quantizeV } from '../reference/quantize.js';
import { CASE_SCHEMA, type Case, type TensorName } from './case.js';
import { materialize, noSource, type SourceTensor, type TensorSource } from './materialize.js';
import { DISTRIBUTIONS, type Distribution, encodeF16, isNonFinite, type Recipe } from './recipe.js';

const HEAD_SIZE = 128;

function caseOf(recipe: Recipe, problem: Partial<Case['problem']> = {}, bits: 4 | 2 = 4): Case {
  return {
    schema: CASE_SCHEMA,
    problem: { tokens: [256], queryHeads: 2, kvHeads: 1, headSize: HEAD_SIZE, ...problem },
    scheme: { format: 'bitdecoding', kAxis: 'channel', bits, group: 32 },
    tensors: { q: recipe, k: recipe, v: recipe },
    options: { softmaxScale: 1, splits: 0 },
  };
}

function inputsOf(c: Case, source: TensorSource = noSource) {
  const made = materialize(c, source);
  if (made.kind === 'error') throw new Error(made.message);
  return made.inputs;
}

const draw = (distribution: (typeof DISTRIBUTIONS)[number], scale = 0, offset = 0) => ({
  ...{ distribution, scale, offset },
  seed: 11,
});

const values = (x: Uint16Array) => Array.from(x, f64FromF16);

describe('every distribution', () => {
  it.each(DISTRIBUTIONS)('%s gives the same bits twice and fills the shapes', (distribution) => {
    const c = caseOf(draw(distribution), { tokens: [3, 0, 130], queryHeads: 6, kvHeads: 2 });
    const first = inputsOf(c);
    expect(first.q.length).toBe(3 * 6 * HEAD_SIZE);
    expect(first.k.length).toBe(133 * 2 * HEAD_SIZE);
    expect(inputsOf(c)).toEqual(first);
  });

  it.each(DISTRIBUTIONS.filter((name) => !isNonFinite(name)))(
    '%s is finite at both ends of scale and offset',
    (distribution) => {
      for (const scale of [-24, 15]) {
        for (const offset of [-2048, 2048]) {
          const { k } = inputsOf(caseOf(draw(distribution, scale, offset)));
          expect(values(k).every(Number.isFinite)).toBe(true);
        }
      }
    },
  );

  it.each(DISTRIBUTIONS)('%s keeps the values of what remains when the shape shrinks', (name) => {
    // A needle's place depends on the number of tokens, so the first request keeps its length.
    const large = caseOf(draw(name), { tokens: [40, 7], queryHeads: 6, kvHeads: 3 });
    const small = caseOf(draw(name), { tokens: [40], queryHeads: 2, kvHeads: 1 });
    const [a, b] = [inputsOf(large), inputsOf(small)];
    for (let t = 0; t < 40; t++) {
      const row = a.k.subarray(3 * t * HEAD_SIZE, (3 * t + 1) * HEAD_SIZE);
      expect(row).toEqual(b.k.subarray(t * HEAD_SIZE, (t + 1) * HEAD_SIZE));
    }
    expect(a.q.subarray(0, 2 * HEAD_SIZE)).toEqual(b.q);
  });
});

describe('the tensors of a case', () => {
  it('are unrelated although they share a seed', () => {
    const { k, v } = inputsOf(caseOf(draw('normal')));
    const [a, b] = [values(k), values(v)];
    const product = a.reduce((sum, x, i) => sum + x * b[i], 0);
    expect(Math.abs(product) / Math.sqrt(a.length)).toBeLessThan(5);
  });

  it.each([4, 2] as const)('grid is lossless at %i bits, for K and for V', (bits) => {
    const { k, v } = inputsOf(caseOf(draw('grid', -3, -5), {}, bits));
    const scheme = caseOf(draw('grid'), {}, bits).scheme;
    const parts = [quantizeK(scheme, k, 256, HEAD_SIZE), quantizeV(scheme, v, 256, HEAD_SIZE)];
    parts.forEach(({ codes, scales, zeros }, tensor) => {
      const x = tensor === 0 ? k : v;
      for (let i = 0; i < x.length; i++) {
        const token = Math.floor(i / HEAD_SIZE);
        const channel = i % HEAD_SIZE;
        const place =
          tensor === 0
            ? Math.floor(token / 32) * HEAD_SIZE + channel
            : (token * HEAD_SIZE + channel - (channel % 32)) / 32;
        const back = codes[i] * f64FromF16(scales[place]) + f64FromF16(zeros[place]);
        expect(back).toBe(f64FromF16(x[i]));
      }
      expect(new Set(codes).size).toBe(2 ** bits);
    });
  });

  it('ties lie half way between codes about half of the time', () => {
    const { k } = inputsOf(caseOf(draw('ties')));
    const halves = values(k).filter((x) => x % 1 === 0.5).length / k.length;
    expect(halves).toBeGreaterThan(0.4);
    expect(halves).toBeLessThan(0.6);
  });

  it('subnormal and near-overflow stay in their ranges', () => {
    const small = values(inputsOf(caseOf(draw('subnormal'))).k).map(Math.abs);
    expect(Math.max(...small)).toBeLessThan(2 ** -14);
    expect(new Set(small).size).toBeGreaterThan(500);
    const large = values(inputsOf(caseOf(draw('near-overflow'))).k).map(Math.abs);
    expect(Math.min(...large)).toBeGreaterThanOrEqual(2 ** 15);
    expect(Math.max(...large)).toBe(65504);
  });

  it('patchwork puts constant groups beside groups with outliers', () => {
    const { v } = inputsOf(caseOf(draw('patchwork'), { tokens: [1024] }));
    const { scales } = quantizeV(caseOf(draw('patchwork')).scheme, v, 1024, HEAD_SIZE);
    const ranges = Array.from(scales, (bits) => 15 * f64FromF16(bits));
    expect(ranges.filter((x) => x === 0).length).toBeGreaterThan(ranges.length / 8);
    expect(ranges.filter((x) => x > 100).length).toBeGreaterThan(ranges.length / 20);
    const besides = ranges.filter((x, i) => i % 4 > 0 && x > 100 && ranges[i - 1] === 0);
    expect(besides.length).toBeGreaterThan(0);
  });

  it('sink and needle make one token stand out, the needle not always the same', () => {
    const largest = (distribution: 'sink' | 'needle', kvHeads: number) => {
      const { k } = inputsOf(caseOf(draw(distribution), { tokens: [64], kvHeads, queryHeads: 8 }));
      const norms = new Float64Array(64 * kvHeads);
      for (let i = 0; i < k.length; i++) norms[Math.floor(i / 128)] += f64FromF16(k[i]) ** 2;
      return Array.from({ length: kvHeads }, (_, head) => {
        const head0 = Array.from({ length: 64 }, (_, t) => norms[t * kvHeads + head]);
        return head0.indexOf(Math.max(...head0));
      });
    };
    expect(largest('sink', 4)).toEqual([0, 0, 0, 0]);
    expect(new Set(largest('needle', 8)).size).toBeGreaterThan(3);
  });

  it('non-finite holds NaN and both infinities, and mostly neither', () => {
    const all = values(inputsOf(caseOf(draw('non-finite'), { tokens: [512] })).k);
    expect(all.some(Number.isNaN)).toBe(true);
    expect(all.includes(Number.POSITIVE_INFINITY)).toBe(true);
    expect(all.includes(Number.NEGATIVE_INFINITY)).toBe(true);
    expect(all.filter(Number.isFinite).length / all.length).toBeGreaterThan(0.99);
  });

  it('non-finite-groups holds groups of NaN and of infinities beside ordinary ones', () => {
    const c = caseOf(draw('non-finite-groups'), { tokens: [2048], kvHeads: 8, queryHeads: 8 });
    const { k, v } = inputsOf(c);
    const kinds = (x: Uint16Array, at: (group: number, i: number) => number, groups: number) => {
      const found = new Map<string, number>();
      for (let g = 0; g < groups; g++) {
        const group = Array.from({ length: 32 }, (_, i) => f64FromF16(x[at(g, i)]));
        const same = new Set(group.map((y) => (Number.isFinite(y) ? 'finite' : String(y))));
        const kind = [...same].sort().join(' ');
        found.set(kind, (found.get(kind) ?? 0) + 1);
      }
      return found;
    };
    const rowSize = 8 * HEAD_SIZE;
    const groups = (2048 / 32) * rowSize;
    const alongTokens = (g: number, i: number) =>
      (32 * Math.floor(g / rowSize) + i) * rowSize + (g % rowSize);
    const alongChannels = (g: number, i: number) => 32 * g + i;
    for (const found of [kinds(k, alongTokens, groups), kinds(v, alongChannels, groups)]) {
      for (const kind of ['-Infinity', 'Infinity', 'NaN', '-Infinity Infinity']) {
        expect(found.get(kind), kind).toBeGreaterThan(20);
      }
      expect(found.get('finite')).toBeGreaterThan(groups / 2);
    }
  });

  it('literal gives its own values back', () => {
    const x = Uint16Array.from({ length: 256 * HEAD_SIZE }, (_, i) => i & 0xffff);
    const c = caseOf({ distribution: 'literal', f16: encodeF16(x) });
    const q: Recipe = draw('zero');
    expect(inputsOf({ ...c, tensors: { ...c.tensors, q } }).k).toEqual(x);
    const made = materialize(c, noSource);
    expect(made).toEqual({
      kind: 'error',
      message: 'case.tensors.q: the literal does not hold 256 words',
    });
  });
});

describe('code-lm', () => {
  /** Every element names its tensor, head, token and channel. */
  const source: TensorSource = {
    tensor: (_name, tensor: TensorName, layer): SourceTensor => {
      const [heads, tokens] = tensor === 'q' ? [4, 64] : [2, 16];
      const f16 = new Uint16Array(heads * tokens * HEAD_SIZE);
      f16.forEach((_, i) => {
        f16[i] = (layer << 12) | (Math.floor(i / HEAD_SIZE) & 0xfff);
      });
      return { kind: 'tensor', heads, tokens, headSize: HEAD_SIZE, f16 };
    },
  };

  it('reads consecutive tokens of the right layer and head, and wraps around', () => {
    const c = caseOf(
      { distribution: 'code-lm', layer: 3, firstToken: 14 },
      { tokens: [4], kvHeads: 3, queryHeads: 12 },
    );
    const { q, k } = inputsOf(c, source);
    const rows = (x: Uint16Array) => Array.from(x).filter((_, i) => i % HEAD_SIZE === 0);
    const layer = 3 << 12;
    const [t14, t15, t0, t1] = [14, 15, 0, 1].map((t) => layer | t);
    const head1 = [14, 15, 0, 1].map((t) => layer | (16 + t));
    expect(rows(k)).toEqual([
      ...[t14, head1[0], t14],
      ...[t15, head1[1], t15],
      ...[t0, head1[2], t0],
      ...[t1, head1[3], t1],
    ]);
    const query = (head: number, t: number) => layer | (64 * head + t);
    expect(rows(q).slice(0, 8)).toEqual([
      ...[query(0, 14), query(1, 14), query(0, 15), query(1, 15)],
      ...[query(2, 14), query(3, 14), query(2, 15), query(3, 15)],
    ]);
  });

  it('is an error in one sentence where the source has nothing', () => {
    const c = caseOf({ distribution: 'code-lm', layer: 0, firstToken: 0 });
    expect(materialize(c, noSource)).toEqual({
      kind: 'error',
      message: 'case.tensors.q: code-lm: no tensor source was given',
    });
  });
});

describe('values that cross', () => {
  const scalesOf = (distribution: Distribution, tensor: 'k' | 'v', tokens = 256) => {
    const c = caseOf(draw(distribution), { tokens: [tokens] });
    const quantize = tensor === 'k' ? quantizeK : quantizeV;
    const { scales } = quantize(c.scheme, inputsOf(c)[tensor], tokens, HEAD_SIZE);
    return Array.from(scales, f64FromF16);
  };

  it('outlier-group puts constant groups beside groups with one outlier, along both axes', () => {
    const v = scalesOf('outlier-group', 'v'); // (tokens, 4)
    v.forEach((scale, i) => {
      if (i % 2 === 1) expect(scale).toBe(0);
      else expect(15 * scale).toBeGreaterThan(1000);
    });
    const k = scalesOf('outlier-group', 'k'); // (8, channels)
    k.forEach((scale, i) => {
      if (Math.floor(i / HEAD_SIZE) % 2 === 1) expect(scale).toBe(0);
      else expect(15 * scale).toBeGreaterThan(1000);
    });
  });

  it('huge-token has one token a head that is larger than all others together', () => {
    const { v } = inputsOf(caseOf(draw('huge-token'), { tokens: [200] }));
    const sizes = Array.from({ length: 200 }, (_, t) => {
      const row = v.subarray(t * HEAD_SIZE, (t + 1) * HEAD_SIZE);
      return row.reduce((sum, bits) => sum + Math.abs(f64FromF16(bits)), 0);
    });
    const largest = Math.max(...sizes);
    expect(largest).toBeGreaterThan(sizes.reduce((sum, x) => sum + x, 0) - largest);
  });

  it('extremes holds subnormal numbers beside the largest', () => {
    const all = values(inputsOf(caseOf(draw('extremes'))).k).map(Math.abs);
    const small = all.filter((x) => x < 2 ** -14).length / all.length;
    const large = all.filter((x) => x >= 2 ** 15).length / all.length;
    expect(small + large).toBe(1);
    expect(Math.min(small, large)).toBeGreaterThan(0.2);
  });

  it('all-exponents has every exponent of fp16, signed-zero both zeros', () => {
    const bits = inputsOf(caseOf(draw('all-exponents'), { tokens: [512] })).k;
    expect(new Set(bits.map((x) => (x >> 10) & 31)).size).toBe(31);
    expect(new Set(inputsOf(caseOf(draw('signed-zero'))).k)).toEqual(new Set([0, 0x8000]));
  });
});
