// The tensor-core model against recorded hardware: whole tiles in corpus/vectors/mma-sm_90.txt,
// written by native/mma/record_vectors.cu on an H100, and dot products in dot-sm_80.txt and
// dot-sm_89.txt, published by others. native/mma/vectors_test.cpp reads the same files.
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { f16Values } from './format.js';
import { type Architecture, dotModel, f64FromBf16, tensorDot } from './mma.js';

const folder = new URL('../corpus/vectors/', import.meta.url);

/** A tile (m 16, n 8, k 16), or a dot product (m 1, n 1) of as many products as were recorded. */
interface Recorded {
  operands: 'f16' | 'bf16';
  accumulator: 'f16' | 'f32';
  /** Class of inputs, or the device. */
  inputs: string;
  a: number[]; // (m, k)
  b: number[]; // (n, k)
  c: number[]; // (m, n)
  d: number[];
}

const view = new DataView(new ArrayBuffer(4));

function f32FromBits(bits: number): number {
  view.setUint32(0, bits);
  return view.getFloat32(0);
}

function numbers(hex: string, digits: number, value: (bits: number) => number): number[] {
  const out: number[] = [];
  for (let i = 0; i < hex.length; i += digits) {
    out.push(value(Number.parseInt(hex.slice(i, i + digits), 16)));
  }
  return out;
}

function parse(line: string): Recorded {
  const [operands, accumulator, inputs, a, b, c, d] = line.split(' ');
  const operand = operands === 'f16' ? (bits: number) => f16Values[bits] : f64FromBf16;
  const sum = accumulator === 'f16' ? (bits: number) => f16Values[bits] : f32FromBits;
  const digits = accumulator === 'f16' ? 4 : 8;
  return {
    operands: operands as Recorded['operands'],
    accumulator: accumulator as Recorded['accumulator'],
    inputs,
    a: numbers(a, 4, operand),
    b: numbers(b, 4, operand),
    c: numbers(c, digits, sum),
    d: numbers(d, digits, sum),
  };
}

/** Outputs that the model of an architecture gets wrong. */
function mismatches({ operands, accumulator, a, b, c, d }: Recorded, sm: Architecture): number {
  const model = dotModel(sm, operands, accumulator);
  const columns = c.length === 1 ? 1 : 8;
  const k = b.length / columns;
  let wrong = 0;
  for (let i = 0; i < c.length; i++) {
    const row = Math.floor(i / columns) * k;
    const column = (i % columns) * k;
    const sum = tensorDot(model, c[i], a.slice(row, row + k), b.slice(column, column + k));
    if (!Object.is(sum, d[i])) wrong += 1;
  }
  return wrong;
}

const files = readdirSync(folder).filter((name) => /^(mma|dot)-sm_\d+\.txt$/.test(name));

describe.each(files)('%s', (name) => {
  const architecture = name.slice(4, -'.txt'.length) as Architecture;
  const lines = readFileSync(new URL(name, folder), 'utf8').split('\n');
  const recorded = lines.filter((line) => line !== '' && !line.startsWith('#')).map(parse);
  const outputs = recorded.reduce((sum, { d }) => sum + d.length, 0);

  it('names its device, driver, date and program', () => {
    for (const key of ['device', 'cuda driver', 'date', 'program']) {
      expect(lines.some((line) => line.startsWith(`# ${key}: `))).toBe(true);
    }
  });

  it('is reproduced bit for bit', () => {
    expect(recorded.length).toBeGreaterThan(100);
    const wrong = recorded.filter((each) => mismatches(each, architecture) > 0);
    expect(wrong.map((t) => `${t.operands} ${t.accumulator} ${t.inputs}`)).toEqual([]);
  });

  it('tells the model of another architecture from its own', () => {
    const other = architecture === 'sm_90' ? 'sm_80' : 'sm_90';
    const wrong = recorded.reduce((sum, each) => sum + mismatches(each, other), 0);
    expect(wrong).toBeGreaterThan(outputs / 50);
  });
});

it('there is a recording for every architecture', () => {
  expect(files).toEqual(['dot-sm_80.txt', 'dot-sm_89.txt', 'mma-sm_90.txt']);
});
