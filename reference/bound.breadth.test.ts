// The bound over the whole matrix of formats: K per token, 8 bits, head sizes 64 and 256, bf16, and
// records kept as they came. Simulated kernels that err as much as they may stay within it on every
// kind of input; wrong answers do not; query tokens have the bounds of requests of their own.
import { describe, expect, it } from 'vitest';
import { attend } from './attention.js';
import { type Arithmetic, admitsOutput, anyArithmetic, boundL1 } from './bound.js';
import { headPrefix, readCache, referenceCache } from './cache.js';
import { elementFromF64, elementRound, f64Array } from './format.js';
import { type Architecture, dotModel } from './mma.js';
import type { Problem } from './problem.js';
import type { Scheme } from './scheme.js';
import { type AttackShape, attack, type Kind, kinds } from './simulated/adversary.js';
import { boundUse, type Use } from './simulated/compare.js';
import { simulateDequantizing } from './simulated/dequantizing-kernel.js';
import { draws } from './simulated/draw.js';
import { simulateFolded } from './simulated/folded-kernel.js';
import { type Ex2, faultyEx2 } from './simulated/scalar.js';

interface Cell extends AttackShape {
  readonly scheme: Scheme;
  readonly architecture: Architecture;
}

const plain: Scheme = { format: 'fp16', kAxis: 'channel', bits: 16, group: 128 };

/** Every width, axis, type and head size, each group with some of them. */
const cells: Cell[] = ([8, 4, 2] as const).flatMap((bits, b) =>
  (['token', 'channel'] as const).flatMap((kAxis, k) =>
    (['fp16', 'bf16'] as const).flatMap((type, t) =>
      [64, 128, 256].map((headSize, s): Cell => {
        const groups = kAxis === 'token' && headSize === 256 ? [256, 128, 32] : [128, 64, 32];
        const group = groups[(b + k + t + s) % 3] as Scheme['group'];
        const scheme: Scheme = { format: 'bitdecoding', kAxis, bits, group };
        return { scheme, type, headSize, architecture: (b + s) % 2 ? 'sm_90' : 'sm_80' };
      }),
    ),
  ),
);

const plainCells: Cell[] = (['fp16', 'bf16'] as const).flatMap((type) =>
  [64, 128, 256].map((headSize): Cell => {
    return { scheme: plain, type, headSize, architecture: headSize === 128 ? 'sm_90' : 'sm_80' };
  }),
);

const channels = [0, 19, 37, 63];
const lengths = [1, 127, 129, 261];

function declared(architecture: Architecture, operands: Arithmetic['operands']): Arithmetic {
  const { fraction, fusedProducts } = dotModel(architecture);
  return { operands, fraction, fusedProducts, sumLanes: operands === 'folded' ? 8 : 4 };
}

/** Part of its bound that a kernel with these operands uses; null: the row is guarded. */
function useOn(
  cell: Cell,
  operands: Exclude<Arithmetic['operands'], 'any'>,
  kind: Kind,
  tokens: number,
  ex2: Ex2,
  seed: number,
): Use | null {
  const { scheme, type, headSize, architecture } = cell;
  const a = attack(kind, scheme, tokens, draws(seed), { headSize, type });
  const result = boundL1(
    a.problem,
    a.softmaxScale,
    a.q,
    [a.head],
    declared(architecture, operands),
  );
  if (result.guarded[0] !== 0) return null;
  const q = f64Array(a.q, undefined, type);
  const model = dotModel(architecture);
  const row =
    operands === 'folded' && scheme.format !== 'fp16'
      ? simulateFolded({ model, ex2, warps: 2, splits: 1 }, a.head, a.softmaxScale, q, channels)
      : simulateDequantizing(
          {
            ...{ model, ex2, blockTokens: 16, splits: 2 },
            roundings: operands === 'dequantized-twice' ? 2 : 1,
          },
          a.head,
          a.softmaxScale,
          q,
          channels,
        );
  channels.forEach((d, i) => {
    const stored = elementRound(type, row.output[i]);
    expect(admitsOutput(result, d, stored), `${kind}, ${tokens} tokens, channel ${d}`).toBe(true);
    if (!Number.isFinite(stored)) return;
    const error = Math.abs(stored - result.output[d]);
    expect(error).toBeLessThanOrEqual(result.outputBound[d]);
  });
  return boundUse(result, 0, row, channels);
}

/** Kinds whose rows lie outside of every kernel's range with these operands. */
const overflowing = (cell: Cell, operands: string) =>
  cell.type === 'fp16' && operands !== 'folded' && cell.scheme.bits !== 16;

function judge(cell: Cell, operands: Exclude<Arithmetic['operands'], 'any'>, seed: number) {
  let bounded = 0;
  let largest = 0;
  kinds.forEach((kind, i) => {
    const tokens = lengths[(i + seed) % lengths.length];
    const draw = draws(seed + i);
    const directions = [0, 1, -1] as const;
    const ex2 = faultyEx2(draw, directions[(i + seed) % 3]);
    const use = useOn(cell, operands, kind, tokens, ex2, seed + i);
    if (use === null) {
      // What is guarded is known: values near overflow, and weights that drift by more than a bound
      // has any use for.
      const expected = ['outlier channel', 'rising scores', 'sharp', 'arbitrary parameters'];
      if (overflowing(cell, operands)) expected.push('near overflow');
      expect(expected, `${kind}, ${tokens} tokens`).toContain(kind);
      return;
    }
    bounded += 1;
    largest = Math.max(largest, use.output, use.lse);
    expect(use.output, `${kind}, ${tokens} tokens: output`).toBeLessThanOrEqual(1);
    expect(use.lse, `${kind}, ${tokens} tokens: lse`).toBeLessThanOrEqual(1);
  });
  expect(bounded).toBeGreaterThanOrEqual(kinds.length - 4);
  return largest;
}

const name = ({ scheme: s, type, headSize }: Cell) =>
  `${s.kAxis}, ${s.bits} bits, ${s.group}, ${type}, ${headSize}`;

describe.each(cells.map((cell, i) => [name(cell), cell, i] as const))('%s', (_name, cell, i) => {
  it('a folding kernel stays within the bound', () => {
    expect(judge(cell, 'folded', 100 + 20 * i)).toBeGreaterThan(0.01);
  });

  it('a dequantising kernel stays within the bound', () => {
    const operands = i % 2 ? 'dequantized' : 'dequantized-twice';
    expect(judge(cell, operands, 1000 + 20 * i)).toBeGreaterThan(0.01);
  });
});

describe.each(plainCells.map((cell, i) => [name(cell), cell, i] as const))(
  '%s',
  (_name, cell, i) => {
    it('a kernel over rows as they came stays within the bound, whatever it declares', () => {
      for (const operands of ['dequantized', 'folded'] as const) {
        expect(judge(cell, operands, 2000 + 20 * i)).toBeGreaterThan(0.01);
      }
    });
  },
);

describe.each([...cells, ...plainCells].map((cell) => [name(cell), cell] as const))(
  '%s: wrong answers leave the widest bound',
  (_name, { scheme, type, headSize }) => {
    const tokens = 200;
    const p: Problem = { tokens: [tokens], queryHeads: 4, kvHeads: 2, headSize, type };
    const draw = draws(9);
    const words = (count: number, mean = 0) =>
      Uint16Array.from({ length: count }, () => elementFromF64(type, mean + draw.normal()));
    const q = words(4 * headSize);
    const built = referenceCache(
      p,
      scheme,
      words(2 * tokens * headSize),
      words(2 * tokens * headSize),
    );
    const heads = readCache(p, scheme, built.cache, built.kResidual, built.vResidual);
    const scale = 1 / Math.sqrt(headSize);
    const result = boundL1(p, scale, q, heads, anyArithmetic);
    const right = attend(p, scale, q, heads).output;
    const rejected = (output: Float64Array, row: number) => {
      let count = 0;
      for (let at = row * headSize; at < (row + 1) * headSize; at++) {
        if (!admitsOutput(result, at, elementRound(type, output[at]))) count++;
      }
      return count / headSize;
    };

    it('and the right one does not', () => {
      for (let row = 0; row < 4; row++) expect(rejected(right, row)).toBe(0);
      const zero = new Float64Array(right.length);
      const swapped = right.map((_, at) => right[(at + headSize) % right.length]);
      for (let row = 0; row < 4; row++) {
        expect(rejected(zero, row)).toBeGreaterThan(0.5);
        expect(rejected(swapped, row)).toBeGreaterThan(0.5);
      }
    });
  },
);

describe('query tokens', () => {
  const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 32 };
  const p: Problem = {
    ...{ tokens: [3, 130, 0, 257], queryHeads: 4, kvHeads: 2, headSize: 64 },
    queryTokens: 5,
  };
  const draw = draws(4);
  const words = (count: number) =>
    Uint16Array.from({ length: count }, () => elementFromF64('fp16', draw.normal()));
  const q = words(4 * 5 * 4 * 64);
  const k = words(390 * 2 * 64);
  const v = words(390 * 2 * 64);
  const built = referenceCache(p, scheme, k, v);
  const heads = readCache(p, scheme, built.cache, built.kResidual, built.vResidual);
  const arithmetic = declared('sm_90', 'folded');
  const all = boundL1(p, 0.125, q, heads, arithmetic);

  it('have the value and the bound of requests that end at their own token', () => {
    for (const [request, tokens] of p.tokens.entries()) {
      for (let i = 0; i < 5; i++) {
        const visible = Math.max(0, tokens - 5 + i + 1);
        const own: Problem = { ...p, tokens: [visible], queryTokens: 1 };
        const row = (request * 5 + i) * 4;
        const cut = heads.slice(2 * request, 2 * request + 2).map((h) => headPrefix(h, visible));
        const query = q.subarray(row * 64, (row + 4) * 64);
        const one = boundL1(own, 0.125, query, cut, arithmetic);
        const part = (x: Float64Array, size: number) => x.slice(row * size, (row + 4) * size);
        expect(part(all.output, 64)).toEqual(one.output);
        expect(part(all.outputRadius, 64)).toEqual(one.outputRadius);
        expect(part(all.lse, 1)).toEqual(one.lse);
        expect(part(all.lseBound, 1)).toEqual(one.lseBound);
      }
    }
  });

  it('that see nothing have output 0 and lse -Inf', () => {
    expect(all.lse.slice(0, 8)).toEqual(new Float64Array(8).fill(Number.NEGATIVE_INFINITY));
    expect(all.output.slice(0, 2 * 4 * 64).every((x) => x === 0)).toBe(true);
    expect(Number.isFinite(all.lse[2 * 4])).toBe(true);
  });

  it('are guarded if a token that they see is no number, and by no later one', () => {
    const spoiled = v.slice();
    const last = (3 + 130 - 1) * 2 * 64;
    spoiled[last] = 0x7e00;
    const other = referenceCache(p, scheme, k, spoiled);
    const read = readCache(p, scheme, other.cache, other.kResidual, other.vResidual);
    const { guarded } = boundL1(p, 0.125, q, read, arithmetic);
    const rows = Array.from(guarded.slice(5 * 4, 10 * 4));
    // Rows of KV head 0, query token by query token.
    expect(rows.filter((_, row) => row % 4 < 2)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    expect(rows.filter((_, row) => row % 4 >= 2).every((x) => x === 0)).toBe(true);
    const unbounded = boundL1(p, 2 ** 50, q, read, arithmetic).guarded.slice(5 * 4, 10 * 4);
    expect(Array.from(unbounded)).toEqual(Array(20).fill(1));
  });
});

describe('bf16', () => {
  const scheme: Scheme = { format: 'bitdecoding', kAxis: 'token', bits: 4, group: 64 };
  const p: Problem = { tokens: [131], queryHeads: 1, kvHeads: 1, headSize: 64, type: 'bf16' };
  const head = (value: number) => {
    const draw = draws(2);
    const words = Uint16Array.from({ length: 131 * 64 }, () =>
      elementFromF64('bf16', value * draw.normal()),
    );
    const built = referenceCache(p, scheme, words, words);
    return readCache(p, scheme, built.cache, built.kResidual, built.vResidual);
  };
  const bounded = (value: number, query: number, scale: number) => {
    const q = new Uint16Array(64).fill(elementFromF64('bf16', query));
    return boundL1(p, scale, q, head(value), declared('sm_90', 'folded'));
  };

  it('guards values that leave the range of fp16 parameters or of f32 sums', () => {
    expect(bounded(1, 1, 0.125).guarded[0]).toBe(0);
    expect(bounded(2 ** 20, 1, 2 ** -20).guarded[0]).toBe(1);
    expect(bounded(1, 2 ** 110, 2 ** -110 * 2 ** 31).guarded[0]).toBe(1);
    expect(bounded(1, 2 ** 70, 2 ** -75).guarded[0]).toBe(0);
    expect(bounded(1, 2 ** -100, 1).guarded[0]).toBe(0);
  });

  it('rounds outputs to 8 significant bits in the admitted interval', () => {
    const result = bounded(1, 1, 0.125);
    const { output, outputRadius, outputBound } = result;
    for (let d = 0; d < 64; d++) {
      expect(outputBound[d]).toBeGreaterThan(outputRadius[d] + 2 ** -9 * Math.abs(output[d]));
      const stored = elementRound('bf16', output[d]);
      expect(admitsOutput(result, d, stored)).toBe(true);
      const apart = elementRound('bf16', output[d] + 3 * outputBound[d]);
      expect(admitsOutput(result, d, apart)).toBe(false);
    }
  });
});
