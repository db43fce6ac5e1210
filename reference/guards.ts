/**
 * Guards: where the derivation of bound.ts holds. Operands are finite, scales are not negative, no
 * sum in f32 overflows. A query token sees a prefix of its request (cache.ts, headPrefix): tokens
 * behind it are judged apart, because a kernel may well read them with a weight of 0, and 0 times
 * what is no number is none.
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

/** Parameters [first, end) of a tensor: those that tokens [from, to) of the records use. */
function parameterRange(head: HeadCache, tensor: 'k' | 'v', from: number, to: number) {
  const { scheme, headSize } = head;
  if (tensor === 'k' && scheme.kAxis === 'channel') {
    return [Math.floor(from / scheme.group), Math.ceil(to / scheme.group)].map((g) => g * headSize);
  }
  const groups = headSize / channelGroup(scheme, headSize);
  return [from * groups, to * groups];
}

/** Scale and zero of every group that tokens [from, to) of the records use. */
function parametersOf(head: HeadCache, tensor: 'k' | 'v', from: number, to: number) {
  const [first, end] = parameterRange(head, tensor, from, to);
  const { scales, zeros }: Quantized = head[tensor];
  return { scales: scales.subarray(first, end), zeros: zeros.subarray(first, end) };
}

/** Residual words of tokens [from, to), counted from the first that is not packed. */
function residualIsFinite(head: HeadCache, from: number, to: number): boolean {
  const mask = special[head.type];
  const [first, end] = [from * head.headSize, to * head.headSize];
  return (
    allFinite(head.kResidual.subarray(first, end), mask) &&
    allFinite(head.vResidual.subarray(first, end), mask)
  );
}

/** Every operand of every tensor-core product is a finite number, and scales are not negative. */
export function headIsFinite(a: KnownArithmetic, head: HeadCache): boolean {
  const { packed, tokens } = head;
  if (!residualIsFinite(head, 0, tokens - packed)) return false;
  return (['k', 'v'] as const).every((tensor) => {
    const { scales, zeros } = parametersOf(head, tensor, 0, packed);
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

/** The tokens of the request behind this prefix are numbers too. */
export function unseenIsFinite(head: HeadCache): boolean {
  const { packed, tokens, headSize, v } = head;
  const allPacked = v.codes.length / headSize;
  const rest = head.kResidual.length / headSize;
  if (!residualIsFinite(head, Math.max(0, tokens - allPacked), rest)) return false;
  return (['k', 'v'] as const).every((tensor) => {
    const { scales, zeros } = parametersOf(head, tensor, packed, allPacked);
    return allFinite(scales, special.fp16) && allFinite(zeros, special.fp16);
  });
}

/** A query row is finite, and neither its sums with keys nor its factors leave f32. */
export function reach(head: HeadCache, factor: number, q: Float64Array): boolean {
  if (!q.every(Number.isFinite)) return false;
  if (head.type === 'fp16') return true; // 2^16 * 2^16 * 256 at most
  const values = elementValues(head.type);
  let key = 0;
  for (let i = 0; i < head.kResidual.length; i++) {
    key = Math.max(key, Math.abs(values[head.kResidual[i]]));
  }
  const largest = q.reduce((max, x) => Math.max(max, Math.abs(x)), 0);
  // A key that is no number is headIsFinite's business.
  if (largest * key * head.headSize >= f32Room) return false;
  return exponentOf(largest) + exponentOf(factor) < 60;
}
