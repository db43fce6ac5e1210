/** Ranges of one query row, as the tests of bound-l2.ts ask for them, and the row of a kernel. */
import type { Arithmetic } from '../arithmetic.js';
import { boundL1 } from '../bound.js';
import { boundL2, inRange, type OutputRange } from '../bound-l2.js';
import { elementRound, f64Array } from '../format.js';
import { type Architecture, dotModel } from '../mma.js';
import type { Scheme } from '../scheme.js';
import type { Attack } from './adversary.js';
import { type Schedule, simulateFolded } from './folded-kernel.js';

/** Channels that are looked at. */
export const channels = [0, 37, 64, 127];

/** What a folding kernel on `architecture` declares. */
export function declared(architecture: Architecture, warps: number): Arithmetic {
  const { fraction, fusedProducts } = dotModel(architecture);
  const schedule = { warps: [[32768, warps]] } as const;
  return { operands: 'folded', fraction, fusedProducts, sumLanes: 8, schedule };
}

/** The range of one query row; null: the row is guarded. */
export function rangeOf(a: Attack, arithmetic: Arithmetic, splits: number): OutputRange | null {
  const l1 = boundL1(a.problem, a.softmaxScale, a.q, [a.head], arithmetic);
  if (l1.guarded[0] !== 0) return null;
  return boundL2(a.problem, a.softmaxScale, a.q, [a.head], arithmetic, splits, l1);
}

/** One query row of a simulated kernel. */
export function simulate(a: Attack, schedule: Schedule, of: readonly number[] = channels) {
  const q = f64Array(a.q, undefined, a.head.type);
  return simulateFolded(schedule, a.head, a.softmaxScale, q, of);
}

/** Rounded values of `channels` that the range does not admit, and an lse outside of it. */
export function outside(range: OutputRange, row: ReturnType<typeof simulate>): number {
  const wrong = channels.filter((d, i) => {
    return !inRange(range, d, elementRound(range.type, row.output[i]));
  });
  const lse = row.lse >= range.lseLow[0] && row.lse <= range.lseHigh[0];
  return wrong.length + (lse ? 0 : 1);
}

/** Records that the tests of L2 go through. */
export const schemes = (['channel', 'token'] as const).flatMap((kAxis) =>
  ([8, 4, 2] as const).flatMap((bits) =>
    ([128, 32] as const).map((group): Scheme => ({ format: 'bitdecoding', kAxis, bits, group })),
  ),
);
/** Numbers of tokens. */
export const lengths = [1, 130, 300, 520];
