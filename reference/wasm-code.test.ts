// Tests of wasm-code.ts: memory is given out in order and never beyond its end, and integers of any
// size are encoded. What functions do is tested where they are.
import { describe, expect, it } from 'vitest';
import { Arena, f32x4, get, i32, isBelow, locals, set, store, when } from './wasm-code.js';

describe('an arena', () => {
  it('gives out zeros at multiples of 16 bytes, and the same again after a reset', () => {
    const arena = new Arena(200, []);
    const arrays = [arena.u8(3), arena.f64(3), arena.i32(5), arena.u8(16), arena.i32(1)];
    expect(arrays.map((x) => x.byteOffset)).toEqual([0, 16, 48, 80, 96]);
    expect(arrays.map((x) => x.length)).toEqual([3, 3, 5, 16, 1]);
    expect(arrays.every((x) => x.every((y) => y === 0))).toBe(true);
    const floats = arena.f32(5);
    expect([floats.byteOffset, floats.length, arena.u8(1).byteOffset]).toEqual([112, 5, 144]);
    arena.reset();
    expect(arena.f64(1).byteOffset).toBe(0);
  });

  it('has a page to spare and ends there', () => {
    const arena = new Arena(1, []);
    expect(arena.f64((2 * 65536) / 8).length).toBe(16384);
    expect(() => arena.u8(1)).toThrow('arena: 131073 bytes, 131072 are there');
    arena.reset();
    expect(() => arena.f64(16385)).toThrow('arena: 131080 bytes, 131072 are there');
    expect(arena.bytes).toBe(1);
  });
});

describe('code', () => {
  it('has integers of every size and sign', () => {
    const numbers = [0, 63, 64, -64, -65, 8191, 8192, -8192, -8193, 2 ** 31 - 1, -(2 ** 31)];
    const p = locals(['to', 'below', 'end']);
    const functions = numbers.map((number, i) => ({
      ...{ name: `number${i}`, parameters: 3, locals: [] },
      // memory[to] = number, as two halves of 32 bits, if below < end, unsigned
      body: when(isBelow(get(p.below), get(p.end)), [
        ...set(p.below, i32(number)),
        ...store.f64(get(p.to), [...get(p.below), 0xb7]),
      ]),
    }));
    const arena = new Arena(64, functions);
    const out = arena.f64(2);
    for (const [i, number] of numbers.entries()) {
      arena.functions[`number${i}`](8, 1, -1);
      expect([out[0], out[1]]).toEqual([0, number]);
      out.fill(0);
      arena.functions[`number${i}`](8, 1, 1);
      expect(out[1]).toBe(0);
    }
  });

  it('names locals by their place', () => {
    expect(locals(['a', 'b'], 7)).toEqual({ a: 7, b: 8 });
    expect(get(300)).toEqual([0x20, 0xac, 0x02]);
    expect(get(127)).toEqual([0x20, 0x7f]); // seven bits a byte
    // Vector instructions by the specification of WebAssembly, section 5.4.9.
    expect(f32x4.add(get(0), get(1))).toEqual([0x20, 0, 0x20, 1, 0xfd, 0xe4, 0x01]);
    expect(f32x4.multiply(get(0), get(1))).toEqual([0x20, 0, 0x20, 1, 0xfd, 0xe6, 0x01]);
  });
});
