// The bound's work, counted and not timed: rows dequantised and products added by boundL1, against
// what attention itself needs. The counters wrap the functions that do the work; a file of its own,
// because they replace modules.
import { beforeEach, expect, it, vi } from 'vitest';
import type { BlockMath } from './block-math.js';
import { type Arithmetic, anyArithmetic, boundL1 } from './bound.js';
import { readCache, referenceCache } from './cache.js';
import type { Problem } from './problem.js';
import type { Scheme } from './scheme.js';
import { draws, normalF16 } from './simulated/draw.js';

const work = vi.hoisted(() => ({ rows: 0, products: 0 }));

vi.mock('./block-rows.js', async (original) => {
  const real = await original<typeof import('./block-rows.js')>();
  const counted =
    (rowsOf: typeof real.blockKeys): typeof real.blockKeys =>
    (head, first, count, room) => {
      work.rows += count;
      rowsOf(head, first, count, room);
    };
  return { ...real, blockKeys: counted(real.blockKeys), blockValues: counted(real.blockValues) };
});

vi.mock('./block-simd.js', async (original) => {
  const real = await original<typeof import('./block-simd.js')>();
  const counted = (length: number): BlockMath => {
    const math = real.openBlockMath(length);
    return {
      ...math,
      dot(rows, count, size, x, ...rest) {
        work.products += count * x.length;
        math.dot(rows, count, size, x, ...rest);
      },
      addWeighted(rows, count, size, weights, stride, sums) {
        work.products += count * sums.length;
        math.addWeighted(rows, count, size, weights, stride, sums);
      },
    };
  };
  return { openBlockMath: counted };
});

beforeEach(() => Object.assign(work, { rows: 0, products: 0 }));

const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 32 };

function measure(tokens: number, queryHeads: number, arithmetic: Arithmetic) {
  const p: Problem = { tokens: [tokens], queryHeads, kvHeads: 1, headSize: 128 };
  const draw = draws(1);
  const rows = () => normalF16(draw, tokens * 128);
  const built = referenceCache(p, scheme, rows(), rows());
  const heads = readCache(p, scheme, built.cache, built.kResidual, built.vResidual);
  Object.assign(work, { rows: 0, products: 0 });
  boundL1(p, 0.1, normalF16(draw, queryHeads * 128), heads, arithmetic);
  // Attention itself: K and V of every token once, one product each for a query and a channel.
  return {
    rows: work.rows / (2 * tokens),
    products: work.products / (2 * tokens * 128 * queryHeads),
  };
}

const shapes = [
  { tokens: 127, queryHeads: 1 },
  { tokens: 300, queryHeads: 1 },
  { tokens: 1100, queryHeads: 8 },
];

it.each(shapes)('costs a small multiple of attention: $tokens tokens, $queryHeads heads', (s) => {
  for (const operands of ['folded', 'dequantized', 'dequantized-twice'] as const) {
    const cost = measure(s.tokens, s.queryHeads, { ...anyArithmetic, operands });
    expect(cost.rows).toBeGreaterThanOrEqual(1); // the counters count
    expect(cost.rows).toBeLessThanOrEqual(2);
    expect(cost.products).toBeGreaterThanOrEqual(1);
    expect(cost.products).toBeLessThanOrEqual(4);
  }
});

it('an undeclared arithmetic costs as much as the three that it may be', () => {
  const one = (operands: Arithmetic['operands']) =>
    measure(300, 4, { ...anyArithmetic, operands }).products;
  const three = one('folded') + one('dequantized') + one('dequantized-twice');
  expect(one('any')).toBeCloseTo(three, 10);
});
