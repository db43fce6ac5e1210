/**
 * The steps of the asymmetric and symmetric quantisers, each rounded once from many digits: what
 * quantize.ts and formats/ do with float64 operations and Math.fround.
 *
 * For groups of finite numbers whose range is not 0 and not out of range: the twin says nothing
 * about NaN, Inf and degenerate groups, which are decisions and not roundings.
 */
import { type BigOf, binary16, binary32, stepsIn, wholeNumber } from './big.js';

export interface BigGroup {
  readonly codes: number[];
  readonly scale: number;
  /** NaN where the format has none */
  readonly zero: number;
}

type BigQuantizer = (big: BigOf, x: readonly number[], bits: number) => BigGroup;

function clamp(x: number, low: number, high: number): number {
  return Math.min(Math.max(x, low), high);
}

/** BitDecoding and record128. */
const bitdecoding: BigQuantizer = (big, x, bits) => {
  const [f32, f16] = [stepsIn(big, binary32), stepsIn(big, binary16)];
  const levels = 2 ** bits - 1;
  const min = Math.min(...x);
  const inverse = f32.divide(levels, f32.subtract(Math.max(...x), min));
  const code = (value: number) =>
    wholeNumber(big, f32.multiply(f32.subtract(value, min), inverse), 4);
  return {
    codes: x.map((value) => clamp(code(value), 0, levels)),
    scale: f16.round(f32.divide(1, inverse)),
    zero: min,
  };
};

const kivi: BigQuantizer = (big, x, bits) => {
  const f16 = stepsIn(big, binary16);
  const levels = 2 ** bits - 1;
  const min = Math.min(...x);
  const scale = f16.divide(f16.subtract(Math.max(...x), min), levels);
  const code = (value: number) => clamp(f16.divide(f16.subtract(value, min), scale), 0, levels);
  return { codes: x.map((value) => wholeNumber(big, code(value), 6)), scale, zero: min };
};

const qserve: BigQuantizer = (big, x) => {
  const [f32, f16] = [stepsIn(big, binary32), stepsIn(big, binary16)];
  const min = Math.min(...x);
  const range = f32.subtract(Math.max(...x), min);
  const scale = f16.round(f32.divide(range, 15));
  const zero = f16.round(f32.divide(f32.multiply(-15, min), range));
  const inverse = f32.divide(1, scale);
  const code = (value: number) => wholeNumber(big, f32.fma(value, inverse, zero), 6);
  return { codes: x.map((value) => clamp(code(value), 0, 255) % 16), scale, zero };
};

const turbomind: BigQuantizer = (big, x, bits) => {
  const [f32, f16] = [stepsIn(big, binary32), stepsIn(big, binary16)];
  const levels = 2 ** bits - 1;
  const min = Math.min(...x);
  const range = f32.subtract(Math.max(...x), min);
  const scale = f16.round(f32.multiply(range, f32.divide(1, levels)));
  const inverse = f16.round(f32.divide(1, scale));
  const code = (value: number) =>
    wholeNumber(big, f16.multiply(f16.subtract(value, min), inverse), 6);
  return { codes: x.map((value) => clamp(code(value), 0, levels)), scale, zero: min };
};

const vllmInt8: BigQuantizer = (big, x) => {
  const f32 = stepsIn(big, binary32);
  const scale = Math.max(f32.divide(Math.max(...x.map(Math.abs)), 127), f32.round(1e-6));
  const inverse = f32.divide(1, scale);
  const code = (value: number) => wholeNumber(big, f32.multiply(value, inverse), 6);
  return { codes: x.map((value) => clamp(code(value), -128, 127)), scale, zero: Number.NaN };
};

const llamaQ40: BigQuantizer = (big, x) => {
  const [f32, f16] = [stepsIn(big, binary32), stepsIn(big, binary16)];
  const max = Math.max(...x.map(Math.abs));
  const d = f32.divide(x.find((value) => Math.abs(value) === max) ?? 0, -8);
  const inverse = f32.divide(1, d);
  const code = (value: number) => wholeNumber(big, f32.add(f32.multiply(value, inverse), 8.5), 3);
  return {
    codes: x.map((value) => Math.min(code(value), 15)),
    scale: f16.round(d),
    zero: Number.NaN,
  };
};

const llamaQ80: BigQuantizer = (big, x) => {
  const [f32, f16] = [stepsIn(big, binary32), stepsIn(big, binary16)];
  const d = f32.divide(Math.max(...x.map(Math.abs)), 127);
  const inverse = f32.divide(1, d);
  const code = (value: number) => wholeNumber(big, f32.multiply(value, inverse), 4);
  return { codes: x.map(code), scale: f16.round(d), zero: Number.NaN };
};

const onnxGqa: BigQuantizer = (big, x, bits) => {
  const f32 = stepsIn(big, binary32);
  const top = 2 ** (bits - 1) - 1;
  const scale = f32.divide(Math.max(...x.map(Math.abs)), top);
  const inverse = f32.divide(1, scale);
  const code = (value: number) => wholeNumber(big, f32.multiply(value, inverse), 6);
  const stored = (value: number) => clamp(code(value), -top - 1, top) + (bits === 4 ? 8 : 0);
  return { codes: x.map(stored), scale, zero: Number.NaN };
};

/** By the name of a FormatSpec. */
export const bigQuantizers: Readonly<Record<string, BigQuantizer>> = {
  record128: bitdecoding,
  'record128-k-token': bitdecoding,
  'bitdecoding-k-channel': bitdecoding,
  'bitdecoding-k-tensor': bitdecoding,
  kivi,
  'qserve-zint4': qserve,
  'turbomind-u4': turbomind,
  'turbomind-u8': turbomind,
  'vllm-int8_per_token_head': vllmInt8,
  'llama-q4_0': llamaQ40,
  'llama-q8_0': llamaQ80,
  'onnx-gqa-per-channel': onnxGqa,
};
