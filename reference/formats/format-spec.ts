/**
 * FormatSpec: everything about one cache format, as text for people and as functions for machines.
 *
 * A format is applied to a HeadTensor: K or V of one KV head, (tokens, headSize), whose tokens fill
 * the format's blocks (a residual window, where a system has one, stays outside). The steps are
 *   quantize    values -> Codes        codes and parameters in a canonical order, no layout
 *   pack        Codes -> Packed        the bytes as the original system lays them out
 *   unpack      Packed -> Codes        the inverse of pack
 *   dequantize  Codes -> values        with the roundings of the original's own dequantiser
 *   exact       Codes -> values        what codes and parameters say, without any rounding
 * Attention is judged against `exact`: how a kernel rounds on the way is the business of the bound.
 *
 * A file of this folder states one format as a FormatDefinition: a quantiser for one group, a
 * dequantiser for one code, and the place of each code and parameter. define-format.ts makes the
 * rest, so packing and unpacking cannot disagree. No NaN or Inf is special to that code: the policy
 * of a format is what its own arithmetic does with them, and its tests say so.
 *
 * Not here: pages and several heads, which are strides that say nothing about a format.
 */
import type { NumberName } from '../number-type.js';
import type { FormatSpec as FormatText } from '../scheme.js';

export type TensorName = 'k' | 'v';

/** K or V of one KV head, and how it is to be quantised. */
export interface HeadTensor {
  readonly tensor: TensorName;
  readonly tokens: number;
  readonly headSize: number;
  readonly bits: number;
  /** elements that share parameters; 'all': all that the axis has (a whole row, a whole tensor) */
  readonly group: number | 'all';
  /** type of the values that are quantised */
  readonly input: NumberName;
  /** a scale that is given, not derived: of the tensor or head (fp8) or over all blocks (NVFP4) */
  readonly given?: number;
}

/** Codes and parameters of a HeadTensor. */
export interface Codes {
  /** the stored field of each element, `bits` wide and unsigned, (tokens, headSize) */
  readonly codes: Uint8Array;
  /**
   * bits of each scale in the spec's scaleType. Axis 'token': (tokens, headSize / group); axis
   * 'channel': (tokens / group, headSize); axis 'tensor': (1)
   */
  readonly scales: Uint32Array;
  /** as scales, in zeroType; empty without zeros */
  readonly zeros: Uint32Array;
}

/** Named arrays of bytes as they lie in memory, little endian. */
export type Packed = Readonly<Record<string, Uint8Array>>;

/**
 * Where a field or a parameter lies: its lowest byte, and in a field its lowest bit of that byte.
 */
export interface Place {
  readonly array: string;
  readonly byte: number;
  readonly shift: number;
}

/** Which elements share parameters: of a token, of a channel, or all. */
export type Axis = 'token' | 'channel' | 'tensor';

/** One group as a quantiser sees it. */
export interface GroupResult {
  /** bits in scaleType */
  readonly scale: number;
  /** bits in zeroType; 0 without zeros */
  readonly zero: number;
}

/** The numbers that a quantiser rounds. */
export interface Unrounded {
  /** to the code of each element, before the clamp */
  readonly codes: Float64Array;
  /** to the scale of each group, in the order of Codes.scales */
  readonly scales: Float64Array;
}

/** The statement of a format for a reader. */
export interface FormatStatement extends Omit<FormatText, 'groups'> {
  readonly groups: readonly (number | 'all')[];
  /** where the format is defined: project, file, version */
  readonly source: string;
  /** whether vectors of the original stand behind this spec, and which */
  readonly verified: string;
  /** field-to-element map in words; codePlace is the same as a function */
  readonly map: string;
  /** what NaN and infinities become */
  readonly nonFinite: Readonly<Record<string, string>>;
  readonly inputs: readonly NumberName[];
  readonly axisOf: Readonly<Record<TensorName, Axis>>;
  readonly scaleType: NumberName;
  /** null: the format has no zeros */
  readonly zeroType: NumberName | null;
  /** what HeadTensor.given means; absent if nothing is given */
  readonly given?: string;
}

export interface FormatDefinition extends FormatStatement {
  /** what else is wrong with a tensor, beyond the lists above; one sentence or null */
  shapeError?(t: HeadTensor): string | null;
  /** x: one group in the order of its axis. Writes its codes and returns its parameters. */
  quantizeGroup(t: HeadTensor, x: Float64Array, codes: Uint8Array): GroupResult;
  /** of one group, if originals divide approximately: what is rounded to codes, to the scale */
  unroundedGroup?(t: HeadTensor, x: Float64Array, codes: Float64Array): number;
  /** one code with the values of its parameters, rounded as the original does; zero is 0 without */
  dequantizeCode(t: HeadTensor, code: number, scale: number, zero: number): number;
  /** the same without rounding, or with float64's where the true value has more than 53 bits */
  exactCode(t: HeadTensor, code: number, scale: number, zero: number): number;
  /** arrays of the layout and their sizes in bytes */
  arrays(t: HeadTensor): Readonly<Record<string, number>>;
  codePlace(t: HeadTensor, token: number, channel: number): Place;
  /** index is into Codes.scales */
  scalePlace(t: HeadTensor, index: number): Place;
  /** index is into Codes.zeros; not called without zeros */
  zeroPlace?(t: HeadTensor, index: number): Place;
}

export interface FormatSpec extends FormatDefinition {
  /** what is wrong with a tensor for this format, in one sentence, or null */
  error(t: HeadTensor): string | null;
  /** x (tokens, headSize), each a value of t.input */
  quantize(t: HeadTensor, x: Float64Array): Codes;
  /** as quantize, without the last roundings; null where the definition does not say them */
  unrounded(t: HeadTensor, x: Float64Array): Unrounded | null;
  pack(t: HeadTensor, codes: Codes): Packed;
  unpack(t: HeadTensor, packed: Packed): Codes;
  /** (tokens, headSize) */
  dequantize(t: HeadTensor, codes: Codes): Float64Array;
  exact(t: HeadTensor, codes: Codes): Float64Array;
}

/** Elements of one group. */
export function groupLength(axis: Axis, t: HeadTensor): number {
  if (axis === 'tensor') return t.tokens * t.headSize;
  if (t.group !== 'all') return t.group;
  return axis === 'token' ? t.headSize : t.tokens;
}

/** Groups of a tensor, the length of Codes.scales. */
export function groupCount(axis: Axis, t: HeadTensor): number {
  if (axis === 'tensor') return 1;
  const elements = t.tokens * t.headSize;
  return elements === 0 ? 0 : elements / groupLength(axis, t);
}

/** Index of the parameters of an element. */
export function groupIndex(axis: Axis, t: HeadTensor, token: number, channel: number): number {
  if (axis === 'tensor') return 0;
  const length = groupLength(axis, t);
  return axis === 'token'
    ? token * (t.headSize / length) + Math.floor(channel / length)
    : Math.floor(token / length) * t.headSize + channel;
}
