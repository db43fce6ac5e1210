/**
 * Guards: where the derivation of bound.ts holds. Operands are finite, scales are not negative, no
 * sum in f32 overflows. A query token sees a prefix of its request (cache.ts, headPrefix), and
 * what is behind that guards nothing, whatever it holds: a kernel that reads it with a weight of 0
 * has to see to it that 0 times NaN is 0.
 */
import { type KnownArithmetic, u16 } from './arithmetic.js';
import type { HeadCache } from './cache.js';
import { elementValues, exponentOf, f16Values } from './format.js';
import type { Quantized } from './quantize.js';
import { channelGroup } from './scheme.js';

/** Sums and factors in f32 stay below this, with room for the powers of two that kernels use. */
const f32Room = 2 ** 100;

/** Exponent fields of fp16 and bf16 words that mean Inf or NaN. */
const special = { fp16: 0x7c00, bf16: 0x7f80 } as const;

function allFinite(words: Uint16Array, mask: number): boolean {
  for (let i = 0; i < words.length; i++) if ((words[i] & mask) === mask) return false;
  return true;
}

/** Scale and zero of every group that the packed tokens of this prefix use. */
function parametersOf({ scheme, headSize, packed, ...head }: HeadCache, tensor: 'k' | 'v') {
  const perChannel = tensor === 'k' && scheme.kAxis === 'channel';
  const end = perChannel
    ? Math.ceil(packed / scheme.group) * headSize
    : packed * (headSize / channelGroup(scheme, headSize));
  const { scales, zeros }: Quantized = head[tensor];
  return { scales: scales.subarray(0, end), zeros: zeros.subarray(0, end) };
}

/** Words of K or V that are not packed and that this prefix holds. */
function tailOf({ tokens, packed, headSize }: HeadCache, residual: Uint16Array): Uint16Array {
  return residual.subarray(0, (tokens - packed) * headSize);
}

/** Every operand of every tensor-core product is a finite number, and scales are not negative. */
export function headIsFinite(a: KnownArithmetic, head: HeadCache): boolean {
  const mask = special[head.type];
  if (!allFinite(tailOf(head, head.kResidual), mask)) return false;
  if (!allFinite(tailOf(head, head.vResidual), mask)) return false;
  return (['k', 'v'] as const).every((tensor) => {
    const { scales, zeros } = parametersOf(head, tensor);
    const stored = allFinite(scales, special.fp16) && allFinite(zeros, special.fp16);
    if (!stored || !scales.every((bits) => bits < 0x8000)) return false;
    // bf16 holds whatever fp16 parameters say.
    if (a.operands === 'folded' || head.type === 'bf16') return true;
    // Dequantised to fp16, the largest code can overflow although scale and zero are finite.
    const codeMax = 2 ** head.scheme.bits - 1;
    return scales.every((bits, i) => {
      const span = codeMax * f16Values[bits];
      const end = f16Values[zeros[i]] + span;
      const product = a.operands === 'dequantized-twice' ? span : 0; // rounded by itself, if at all
      return product < 65504 && Math.abs(end) + u16 * (Math.abs(end) + product) < 65504;
    });
  });
}

/** A query row is finite, and neither its sums with keys nor its factors leave f32. */
export function reach(head: HeadCache, factor: number, q: Float64Array): boolean {
  if (!q.every(Number.isFinite)) return false;
  if (head.type === 'fp16') return true; // 2^16 * 2^16 * 256 at most
  const values = elementValues(head.type);
  let key = 0;
  for (const word of tailOf(head, head.kResidual)) key = Math.max(key, Math.abs(values[word]));
  const largest = q.reduce((max, x) => Math.max(max, Math.abs(x)), 0);
  // A key that is no number is headIsFinite's business.
  if (largest * key * head.headSize >= f32Room) return false;
  return exponentOf(largest) + exponentOf(factor) < 60;
}
