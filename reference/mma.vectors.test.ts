// The tensor-core model against recorded hardware: corpus/vectors/mma-sm_90.txt, written by
// native/mma/record_vectors.cu on an H100. native/mma/vectors_test.cpp reads the same file.
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { f16Values } from './format.js';
import { type Architecture, dotModel, f64FromBf16, tensorDot } from './mma.js';

const folder = new URL('../corpus/vectors/', import.meta.url);

interface Tile {
  operands: 'f16' | 'bf16';
  accumulator: 'f16' | 'f32';
  inputs: string;
  a: number[]; // (16 rows, 16 k)
  b: number[]; // (8 columns, 16 k)
  c: number[]; // (16 rows, 8 columns)
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

function parse(line: string): Tile {
  const [operands, accumulator, inputs, a, b, c, d] = line.split(' ');
  const operand = operands === 'f16' ? (bits: number) => f16Values[bits] : f64FromBf16;
  const sum = accumulator === 'f16' ? (bits: number) => f16Values[bits] : f32FromBits;
  const digits = accumulator === 'f16' ? 4 : 8;
  return {
    operands: operands as Tile['operands'],
    accumulator: accumulator as Tile['accumulator'],
    inputs,
    a: numbers(a, 4, operand),
    b: numbers(b, 4, operand),
    c: numbers(c, digits, sum),
    d: numbers(d, digits, sum),
  };
}

/** Outputs of a tile that the model of an architecture gets wrong. */
function mismatches(tile: Tile, architecture: Architecture): number {
  const model = dotModel(architecture, tile.operands, tile.accumulator);
  let wrong = 0;
  for (let row = 0; row < 16; row++) {
    for (let column = 0; column < 8; column++) {
      const i = row * 8 + column;
      const a = tile.a.slice(row * 16, row * 16 + 16);
      const b = tile.b.slice(column * 16, column * 16 + 16);
      if (!Object.is(tensorDot(model, tile.c[i], a, b), tile.d[i])) wrong += 1;
    }
  }
  return wrong;
}

const files = readdirSync(folder).filter((name) => /^mma-sm_\d+\.txt$/.test(name));

describe.each(files)('%s', (name) => {
  const architecture = name.slice('mma-'.length, -'.txt'.length) as Architecture;
  const lines = readFileSync(new URL(name, folder), 'utf8').split('\n');
  const tiles = lines.filter((line) => line !== '' && !line.startsWith('#')).map(parse);

  it('names its device, driver, date and program', () => {
    for (const key of ['device', 'cuda driver', 'date', 'program']) {
      expect(lines.some((line) => line.startsWith(`# ${key}: `))).toBe(true);
    }
  });

  it('is reproduced bit for bit', () => {
    expect(tiles.length).toBeGreaterThan(100);
    const wrong = tiles.filter((tile) => mismatches(tile, architecture) > 0);
    expect(wrong.map((t) => `${t.operands} ${t.accumulator} ${t.inputs}`)).toEqual([]);
  });

  it('tells the model of another architecture from its own', () => {
    const other = architecture === 'sm_90' ? 'sm_80' : 'sm_90';
    const wrong = tiles.reduce((sum, tile) => sum + mismatches(tile, other), 0);
    expect(wrong).toBeGreaterThan(tiles.length);
  });
});

it('there is a recording for sm_90', () => {
  expect(files).toContain('mma-sm_90.txt');
});
