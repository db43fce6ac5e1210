// Tests of bound-scratch.ts and of the rooms in it (block-rows.ts): memory as large as what lies in
// it, and blocks that touch nothing but their own tokens.
import { describe, expect, it } from 'vitest';
import { blockTokens } from './block-rows.js';
import { boundScratch, readBlock, writeBlock } from './bound-scratch.js';

const pageBytes = 65_536;

describe('the memory of a bound', () => {
  // Each needs more than the one before it, so that none finds room that another left.
  const shapes = [
    [1, 64],
    [8, 64],
    [1, 256],
    [8, 256],
    [300, 64],
    [300, 128],
  ];

  it.each(shapes)('holds its arrays and not two pages more: %i queries of %i', (queries, size) => {
    const { math, room, ...arrays } = boundScratch(queries, size);
    const { rows, codes, scales, zeros } = room;
    const all = [...Object.values(arrays), rows, codes, scales, zeros];
    const used = all.reduce((sum, array) => sum + array.byteLength, 0);
    expect(room.math).toBe(math);
    expect(new Set(all.map(({ buffer }) => buffer)).size).toBe(1);
    expect(all.every((array) => array.every((x) => x === 0))).toBe(true);
    expect(all[0].buffer.byteLength - used).toBeLessThan(2 * pageBytes);
    expect(all[0].buffer.byteLength - used).toBeGreaterThanOrEqual(pageBytes);
  });
});

describe('a block of tokens', () => {
  const [tokens, first, count] = [200, 128, 5];
  const numbers = Float64Array.from({ length: 3 * tokens }, (_, i) => i);

  it('is read from every query and leaves the rest of its rows', () => {
    const block = new Float64Array(2 * blockTokens).fill(-1);
    readBlock(numbers, tokens, first, count, block);
    const wanted = block.map((_, i) => {
      const [h, t] = [Math.floor(i / blockTokens), i % blockTokens];
      return t < count ? h * tokens + first + t : -1;
    });
    expect(block).toEqual(wanted);
  });

  it('is written to every query of the block and to nothing else', () => {
    const block = Float64Array.from({ length: 2 * blockTokens }, (_, i) => -1 - i);
    const x = numbers.slice();
    writeBlock(block, x, tokens, first, count);
    const wanted = numbers.map((own, i) => {
      const [h, t] = [Math.floor(i / tokens), (i % tokens) - first];
      return h < 2 && t >= 0 && t < count ? -1 - (h * blockTokens + t) : own;
    });
    expect(x).toEqual(wanted);
  });
});
