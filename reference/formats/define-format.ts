/**
 * From a FormatDefinition (format-spec.ts) to the whole FormatSpec: checks, and the loops over
 * groups, fields and parameters that all formats share. Knows no format.
 *
 * Fields never cross a byte in any format of this folder, so bytes are addressed directly and the
 * byte order of the machine does not matter.
 */
import { numberTypes } from '../number-type.js';
import {
  type Axis,
  type Codes,
  type FormatDefinition,
  type FormatSpec,
  groupCount,
  groupLength,
  type HeadTensor,
  type Packed,
  type Place,
  type Unrounded,
} from './format-spec.js';

/** Values above this are refused as a number of tokens or channels: 32-bit indices of kernels. */
const countMax = 2 ** 31 - 1;

function isCount(value: number, min: number): boolean {
  return Number.isInteger(value) && value >= min && value <= countMax;
}

function listError(name: string, found: unknown, allowed: readonly unknown[]): string | null {
  if (allowed.includes(found)) return null;
  const list = allowed.map((x) => JSON.stringify(x)).join(', ');
  return `${name}: ${JSON.stringify(found)} is not one of ${list}`;
}

function givenError(f: FormatDefinition, t: HeadTensor): string | null {
  if (f.given === undefined) {
    return t.given === undefined ? null : `given: ${t.given}, but ${f.format} derives every scale`;
  }
  if (t.given === undefined) return `given: missing, ${f.format} needs ${f.given}`;
  const rounded = Math.fround(t.given);
  if (rounded === t.given && rounded > 0 && Number.isFinite(rounded)) return null;
  return `given: ${t.given} is not a positive finite binary32 number`;
}

function tensorError(f: FormatDefinition, t: HeadTensor): string | null {
  const listed =
    listError('tensor', t.tensor, ['k', 'v']) ??
    listError('bits', t.bits, f.bits) ??
    listError('group', t.group, f.groups) ??
    listError('input', t.input, f.inputs);
  if (listed) return listed;
  if (!isCount(t.tokens, 0)) return `tokens: ${t.tokens} is not an integer from 0 to ${countMax}`;
  if (!isCount(t.headSize, 1)) {
    return `headSize: ${t.headSize} is not an integer from 1 to ${countMax}`;
  }
  if (f.headSizes.length > 0 && !f.headSizes.includes(t.headSize)) {
    return `headSize: ${t.headSize} is not one of ${f.headSizes.join(', ')}`;
  }
  const axis = f.axisOf[t.tensor];
  const [name, length] = axis === 'channel' ? ['tokens', t.tokens] : ['headSize', t.headSize];
  if (t.group !== 'all' && length % t.group !== 0) {
    return `group: ${t.group} does not divide ${name} ${length}`;
  }
  return givenError(f, t) ?? f.shapeError?.(t) ?? null;
}

function requireLength(name: string, found: number, required: number): void {
  if (found !== required) throw new RangeError(`${name}: length ${found}, ${required} is required`);
}

/** Calls visit with the first element of each group, the distance to the next, and the index. */
function eachGroup(
  axis: Axis,
  t: HeadTensor,
  visit: (first: number, stride: number, index: number) => void,
): void {
  const length = groupLength(axis, t);
  const stride = axis === 'channel' ? t.headSize : 1;
  for (let index = 0; index < groupCount(axis, t); index++) {
    const row = Math.floor(index / t.headSize) * length;
    const first = axis === 'channel' ? row * t.headSize + (index % t.headSize) : index * length;
    visit(first, stride, index);
  }
}

function quantize(f: FormatDefinition, t: HeadTensor, x: Float64Array): Codes {
  requireLength('x', x.length, t.tokens * t.headSize);
  const { round } = numberTypes[t.input];
  const stray = x.findIndex((value) => !Number.isNaN(value) && round(value) !== value);
  if (stray >= 0) throw new RangeError(`x[${stray}]: ${x[stray]} is not a value of ${t.input}`);
  const axis = f.axisOf[t.tensor];
  const length = groupLength(axis, t);
  const codes = new Uint8Array(x.length);
  const scales = new Uint32Array(groupCount(axis, t));
  const zeros = new Uint32Array(f.zeroType ? scales.length : 0);
  const group = new Float64Array(length);
  const groupCodes = new Uint8Array(length);
  eachGroup(axis, t, (first, stride, index) => {
    for (let i = 0; i < length; i++) group[i] = x[first + i * stride];
    const { scale, zero } = f.quantizeGroup(t, group, groupCodes);
    for (let i = 0; i < length; i++) codes[first + i * stride] = groupCodes[i];
    scales[index] = scale;
    zeros[index] = zero; // lost where there are none
  });
  return { codes, scales, zeros };
}

function unrounded(f: FormatDefinition, t: HeadTensor, x: Float64Array): Unrounded | null {
  const { unroundedGroup } = f;
  if (unroundedGroup === undefined) return null;
  requireLength('x', x.length, t.tokens * t.headSize);
  const axis = f.axisOf[t.tensor];
  const length = groupLength(axis, t);
  const codes = new Float64Array(x.length);
  const scales = new Float64Array(groupCount(axis, t));
  const [group, own] = [new Float64Array(length), new Float64Array(length)];
  eachGroup(axis, t, (first, stride, index) => {
    for (let i = 0; i < length; i++) group[i] = x[first + i * stride];
    scales[index] = unroundedGroup(t, group, own);
    for (let i = 0; i < length; i++) codes[first + i * stride] = own[i];
  });
  return { codes, scales };
}

function requireCodes(f: FormatDefinition, t: HeadTensor, c: Codes): void {
  const groups = groupCount(f.axisOf[t.tensor], t);
  requireLength('codes', c.codes.length, t.tokens * t.headSize);
  requireLength('scales', c.scales.length, groups);
  requireLength('zeros', c.zeros.length, f.zeroType ? groups : 0);
}

function dequantize(
  f: FormatDefinition,
  t: HeadTensor,
  c: Codes,
  one: FormatDefinition['exactCode'],
): Float64Array {
  requireCodes(f, t, c);
  const axis = f.axisOf[t.tensor];
  const scaleType = numberTypes[f.scaleType];
  const zeroType = f.zeroType ? numberTypes[f.zeroType] : null;
  const length = groupLength(axis, t);
  const x = new Float64Array(c.codes.length);
  eachGroup(axis, t, (first, stride, index) => {
    const scale = scaleType.decode(c.scales[index]);
    const zero = zeroType ? zeroType.decode(c.zeros[index]) : 0;
    for (let i = first; i < first + length * stride; i += stride) {
      x[i] = one(t, c.codes[i], scale, zero);
    }
  });
  return x;
}

/** Every place of a tensor with its value's getter and setter, in one order for pack and unpack. */
function eachPlace(
  f: FormatDefinition,
  t: HeadTensor,
  field: (place: Place, element: number) => void,
  parameter: (place: Place, kind: 'scales' | 'zeros', index: number) => void,
): void {
  for (let token = 0; token < t.tokens; token++) {
    for (let channel = 0; channel < t.headSize; channel++) {
      field(f.codePlace(t, token, channel), token * t.headSize + channel);
    }
  }
  for (let index = 0; index < groupCount(f.axisOf[t.tensor], t); index++) {
    parameter(f.scalePlace(t, index), 'scales', index);
    if (f.zeroPlace) parameter(f.zeroPlace(t, index), 'zeros', index);
  }
}

/** Of a scale, and of a zero: no format has the two in different widths. */
function parameterBytes(f: FormatDefinition): number {
  return numberTypes[f.scaleType].bits / 8;
}

function pack(f: FormatDefinition, t: HeadTensor, c: Codes): Packed {
  requireCodes(f, t, c);
  const packed = Object.fromEntries(
    Object.entries(f.arrays(t)).map(([name, bytes]) => [name, new Uint8Array(bytes)]),
  );
  const mask = 2 ** t.bits - 1;
  eachPlace(
    f,
    t,
    ({ array, byte, shift }, element) => {
      packed[array][byte] |= (c.codes[element] & mask) << shift;
    },
    ({ array, byte }, kind, index) => {
      for (let i = 0; i < parameterBytes(f); i++) {
        packed[array][byte + i] = (c[kind][index] >>> (8 * i)) & 255;
      }
    },
  );
  return packed;
}

function unpack(f: FormatDefinition, t: HeadTensor, packed: Packed): Codes {
  for (const [name, bytes] of Object.entries(f.arrays(t))) {
    requireLength(name, packed[name]?.length ?? 0, bytes);
  }
  const groups = groupCount(f.axisOf[t.tensor], t);
  const c: Codes = {
    codes: new Uint8Array(t.tokens * t.headSize),
    scales: new Uint32Array(groups),
    zeros: new Uint32Array(f.zeroType ? groups : 0),
  };
  const mask = 2 ** t.bits - 1;
  eachPlace(
    f,
    t,
    ({ array, byte, shift }, element) => {
      c.codes[element] = (packed[array][byte] >>> shift) & mask;
    },
    ({ array, byte }, kind, index) => {
      let bits = 0;
      for (let i = parameterBytes(f); i-- > 0; ) bits = bits * 256 + packed[array][byte + i];
      c[kind][index] = bits;
    },
  );
  return c;
}

/** Completes a definition. Every function of the result refuses an impossible tensor by name. */
export function defineFormat(f: FormatDefinition): FormatSpec {
  const error = (t: HeadTensor) => {
    const found = tensorError(f, t);
    return found === null ? null : `${f.format}: ${found}`;
  };
  const check = (t: HeadTensor) => {
    const found = error(t);
    if (found !== null) throw new RangeError(found);
    return t;
  };
  return {
    ...f,
    error,
    quantize: (t, x) => quantize(f, check(t), x),
    unrounded: (t, x) => unrounded(f, check(t), x),
    pack: (t, codes) => pack(f, check(t), codes),
    unpack: (t, packed) => unpack(f, check(t), packed),
    dequantize: (t, codes) => dequantize(f, check(t), codes, f.dequantizeCode),
    exact: (t, codes) => dequantize(f, check(t), codes, f.exactCode),
  };
}
