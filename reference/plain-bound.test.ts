// Tests of bound.ts against the same terms summed where they stand (simulated/plain-bound.ts): the
// bound is that number and no other, neither too small nor wider than its derivation. What blocks,
// vectors and rows of several queries share makes no difference.
import { describe, expect, it } from 'vitest';
import { guardLimit, type KnownArithmetic, type Operands } from './arithmetic.js';
import { boundL1 } from './bound.js';
import type { HeadCache } from './cache.js';
import { type ElementType, f16FromF64, f64Array } from './format.js';
import { emptyQuantized } from './quantize.js';
import type { Scheme } from './scheme.js';
import { attack, type Kind, kinds } from './simulated/adversary.js';
import { draws } from './simulated/draw.js';
import { plainBound } from './simulated/plain-bound.js';

interface Cell {
  readonly scheme: Scheme;
  readonly type: ElementType;
  readonly tokens: number;
  readonly operands: Operands;
}

const scheme = (kAxis: Scheme['kAxis'], bits: Scheme['bits'], group: Scheme['group']): Scheme => ({
  ...{ format: bits === 16 ? 'fp16' : 'bitdecoding', kAxis, bits, group },
});

const cells: Cell[] = [
  { scheme: scheme('channel', 4, 128), type: 'fp16', tokens: 200, operands: 'folded' },
  { scheme: scheme('channel', 2, 32), type: 'fp16', tokens: 131, operands: 'folded' },
  { scheme: scheme('channel', 8, 64), type: 'bf16', tokens: 257, operands: 'folded' },
  { scheme: scheme('token', 4, 32), type: 'fp16', tokens: 129, operands: 'folded' },
  { scheme: scheme('token', 2, 64), type: 'bf16', tokens: 170, operands: 'folded' },
  { scheme: scheme('channel', 4, 32), type: 'fp16', tokens: 145, operands: 'dequantized' },
  { scheme: scheme('channel', 2, 64), type: 'bf16', tokens: 129, operands: 'dequantized-twice' },
  { scheme: scheme('token', 4, 32), type: 'fp16', tokens: 128, operands: 'dequantized-twice' },
  { scheme: scheme('token', 8, 64), type: 'bf16', tokens: 140, operands: 'dequantized' },
  { scheme: scheme('channel', 16, 128), type: 'fp16', tokens: 150, operands: 'dequantized' },
  { scheme: scheme('channel', 16, 128), type: 'bf16', tokens: 37, operands: 'dequantized' },
];

const headSize = 64;
const queries = 3;

const channels = [0, 19, 32, 63];

const overflows = ({ operands, type }: Cell, kind: Kind) =>
  kind === 'near overflow' && operands !== 'folded' && type === 'fp16';

/**
 * Equal but for the rounding of float64 sums: a part of the bound itself, and of what is summed
 * (`unit`) where a bound starts from a difference.
 */
function expectEqual(found: number, wanted: number, unit: number, label: string): void {
  if (Object.is(found, wanted)) return;
  const apart = Math.abs(found - wanted) / (1e-13 * Math.abs(wanted) + 2 ** -46 * unit);
  expect(apart, `${label}: ${found}, ${wanted}`).toBeLessThanOrEqual(1);
}

describe.each(cells)('the bound is its terms: $scheme $type $operands', (cell) => {
  // Half of the kinds for a cell, the others for its neighbour, which differs in one thing or two.
  const own = kinds.filter((_, i) => (i + cells.indexOf(cell)) % 2 === 0);

  const a: KnownArithmetic = {
    ...{ operands: cell.operands, sumLanes: 8 },
    ...(cell.type === 'fp16' ? { fraction: 25, fusedProducts: 16 } : {}),
    ...(cell.type === 'bf16' ? { fraction: 24, fusedProducts: 8 } : {}),
  } as KnownArithmetic;

  it.each(own)('%s', (kind) => {
    const shape = { headSize, type: cell.type };
    const made = Array.from({ length: queries }, (_, h) =>
      attack(kind, cell.scheme, cell.tokens, draws(31 + h), shape),
    );
    const { head, problem, softmaxScale } = made[0];
    const q = Uint16Array.from(made.flatMap((m) => [...m.q]));
    const p = { ...problem, queryHeads: queries };
    const result = boundL1(p, softmaxScale, q, [head], a);
    for (let h = 0; h < queries; h++) {
      const row = f64Array(made[h].q, undefined, cell.type);
      const plain = plainBound(a, head, softmaxScale, row, channels);
      const size = Math.max(1, Math.abs(plain.lse));
      expectEqual(result.lse[h], plain.lse, size, 'lse');
      expectEqual(result.valueMax[h], plain.valueMax, 0, 'largest value');
      // Nothing else guards these operands, but that some leave fp16 where they are dequantised.
      const isGuarded = plain.drift >= guardLimit || overflows(cell, kind);
      expect(result.guarded[h] === 1, `${plain.drift}`).toBe(isGuarded);
      if (isGuarded) continue;
      expectEqual(result.lseBound[h], plain.lseBound, size, 'bound of lse');
      channels.forEach((d, i) => {
        const at = h * headSize + d;
        const label = `query ${h}, channel ${d}`;
        expectEqual(result.output[at], plain.output[i], plain.valueMax, label);
        expectEqual(result.outputRadius[at], plain.radius[i], plain.valueMax, `radius, ${label}`);
        expectEqual(result.outputBound[at], plain.bound[i], plain.valueMax, `bound, ${label}`);
      });
    }
  });
});

// Sums of float64 are exact in these, so that the bound has to have every term, however small.
describe('the bound is its terms to the last bits', () => {
  const a: KnownArithmetic = {
    ...{ operands: 'folded', fraction: 25, fusedProducts: 16, sumLanes: 8 },
  };
  const own = scheme('channel', 4, 64);
  const none = () => 0;
  const fill = (length: number, of: (i: number) => number) =>
    Uint16Array.from({ length }, (_, i) => f16FromF64(of(i)));

  /** 128 packed tokens with a key code, a scale and a zero of the value each; value codes are 0. */
  function expectTerms(key: (t: number) => number, scaleOf: (t: number) => number, zero: number) {
    const codes = Uint8Array.from({ length: 128 * headSize }, (_, i) =>
      key(Math.floor(i / headSize)),
    );
    const [ones, zeros] = [fill(2 * headSize, () => 1), fill(2 * headSize, () => 0)];
    const v = emptyQuantized(128, headSize, 128);
    const head: HeadCache = {
      ...{ scheme: own, headSize, tokens: 128, type: 'fp16', packed: 128 },
      k: { codes, scales: ones, zeros },
      v: { ...v, scales: fill(128, scaleOf), zeros: fill(128, () => zero) },
      ...{ kResidual: new Uint16Array(0), vResidual: new Uint16Array(0) },
    };
    const p = { tokens: [128], queryHeads: 1, kvHeads: 1, headSize };
    const q = fill(headSize, () => 2);
    const { outputRadius, lseBound, guarded } = boundL1(p, 1, q, [head], a);
    const plain = plainBound(a, head, 1, f64Array(q), [0]);
    expect(guarded[0]).toBe(0);
    expectEqual(outputRadius[0], plain.radius[0], 0, 'radius');
    expectEqual(lseBound[0], plain.lseBound, 0, 'bound of lse');
    return outputRadius[0];
  }

  it('if all tokens are the same and nothing is added to their zero', () => {
    expect(expectTerms(none, none, 1)).toBeGreaterThan(2 ** -24);
  });

  it('if one token has all of the weight and the others have the scales', () => {
    const key = (t: number) => (t === 77 ? 15 : 0);
    const without = expectTerms(key, none, 0);
    const found = expectTerms(key, (t) => (t === 77 ? 0 : 2 ** 15), 0);
    // In a kernel each of the others may weigh 2^-100, and its code is not known to be 0.
    expect(found - without).toBeGreaterThan(2 ** -11 * 128 * 2 ** -100 * 15 * 2 ** 15);
  });
});
