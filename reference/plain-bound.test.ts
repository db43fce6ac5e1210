// Tests of bound.ts against the same terms summed where they stand (simulated/plain-bound.ts): the
// bound is that number and no other, neither too small nor wider than its derivation. What blocks,
// vectors and rows of several queries share makes no difference.
import { describe, expect, it } from 'vitest';
import { guardLimit, type KnownArithmetic, type Operands } from './arithmetic.js';
import { boundL1 } from './bound.js';
import { type ElementType, f64Array } from './format.js';
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
