/**
 * WebAssembly written out as bytes: the few instructions that the dense loops of this project need,
 * and the module around them (WebAssembly core specification 2.0, sections 2.4 and 5).
 *
 * Code is a list of bytes, so a loop reads as nested calls. No text format, no compiler: what runs
 * is what stands in block-simd.ts and its neighbours, and each of those has its meaning in plain
 * TypeScript, whose bits a test compares.
 */
export type Code = readonly number[];

export const I32 = 0x7f;
export const V128 = 0x7b;
const pageBytes = 65_536;

/** Unsigned LEB128, section 5.2.2. */
function leb(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push((rest & 127) | (rest > 127 ? 128 : 0));
    rest >>>= 7;
  } while (rest > 0);
  return bytes;
}

/** Signed LEB128 of a 32-bit integer. */
function signedLeb(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (;;) {
    const byte = rest & 127;
    rest >>= 7;
    const isLast = (rest === 0 && byte < 64) || (rest === -1 && byte >= 64);
    bytes.push(isLast ? byte : byte | 128);
    if (isLast) return bytes;
  }
}

/** Indexes of locals by name, in this order, from `from` on. */
export function locals<Name extends string>(
  names: readonly Name[],
  from = 0,
): Readonly<Record<Name, number>> {
  return Object.fromEntries(names.map((name, i) => [name, from + i])) as Record<Name, number>;
}

export const get = (local: number): Code => [0x20, ...leb(local)];
export const set = (local: number, value: Code = []): Code => [...value, 0x21, ...leb(local)];
export const i32 = (value: number): Code => [0x41, ...signedLeb(value)];

export const zeroVector: Code = [0xfd, 0x0c, ...Array<number>(16).fill(0)];

/** Code for i = 0 .. count - 1, one after another. */
export const each = (count: number, make: (i: number) => Code): Code =>
  Array.from({ length: count }, (_, i) => make(i)).flat();

const binary =
  (...opcode: number[]) =>
  (a: Code, b: Code): Code => [...a, ...b, ...opcode];
const unary =
  (...opcode: number[]) =>
  (a: Code): Code => [...a, ...opcode];
const simd = (opcode: number): number[] => [0xfd, ...leb(opcode)];

export const add = binary(0x6a);
export const subtract = binary(0x6b);
export const multiply = binary(0x6c);
export const isBelow = binary(0x49); // unsigned
export const isEqual = binary(0x46);
export const and = binary(0x71);
export const shiftRight = binary(0x76); // unsigned
/** The larger of two signed integers; both are evaluated twice. */
export const largerI32 = (a: Code, b: Code): Code => [...a, ...b, ...a, ...b, 0x4a, 0x1b];
/** 2^exponent, from its bits. */
export const powerOf = (exponent: Code): Code => [
  ...add(exponent, i32(1023)),
  ...[0xac, 0x42, 52, 0x86, 0xbf], // i64.extend_i32_s, i64.const, i64.shl, f64.reinterpret_i64
];

export const f64x2 = {
  splat: unary(...simd(0x14)),
  lane: (a: Code, lane: number): Code => [...a, ...simd(0x21), lane],
  add: binary(...simd(0xf0)),
  subtract: binary(...simd(0xf1)),
  multiply: binary(...simd(0xf2)),
  absolute: unary(...simd(0xec)),
  truncate: unary(...simd(0x7a)),
  /** a < b ? b : a */
  larger: binary(...simd(0xf7)),
  /** of the two lower of four signed integers */
  fromI32x4: unary(...simd(0xfe)),
};
/** Lower and upper lanes of half as many, twice as wide. */
export const i16x8 = { widenLow: unary(...simd(0xa9)), widenHigh: unary(...simd(0xaa)) };
/** The upper eight bytes in place of the lower ones. */
export const upperHalf = (a: Code): Code => [
  ...a,
  ...a,
  ...simd(0x0d),
  ...Array.from({ length: 16 }, (_, i) => 8 + (i % 8)),
];
export const f32x4 = { add: binary(...simd(0xe4)), multiply: binary(...simd(0xe6)) };
export const f64 = {
  add: binary(0xa0),
  multiply: binary(0xa2),
  truncate: unary(0x9d),
  fromI32: unary(0xb7),
  isNotZero: (a: Code): Code => [...a, 0x44, ...Array<number>(8).fill(0), 0x62],
  /** cut to 24 significant bits: the 29 lowest are cleared */
  cutToF32: (a: Code): Code => [...a, 0xbd, 0x42, ...signedLeb(-(2 ** 29)), 0x83, 0xbf],
};

/** Loads and stores at address + offset. Alignments are hints: log2 of what the arrays have. */
const memory =
  (opcode: readonly number[], align: number) =>
  (address: Code, offset = 0): Code => [...address, ...opcode, align, ...leb(offset)];
export const load = {
  i32: memory([0x28], 2),
  u8: memory([0x2d], 0),
  f64: memory([0x2b], 3),
  v128: memory(simd(0x00), 2),
  /** 8 bytes as 16-bit integers */
  widened8: memory(simd(0x02), 0),
  splat32: memory(simd(0x09), 2),
  splat64: memory(simd(0x0a), 3),
};
const storing =
  (opcode: readonly number[], align: number) =>
  (address: Code, value: Code, offset = 0): Code => [
    ...address,
    ...value,
    ...opcode,
    align,
    ...leb(offset),
  ];
export const store = { v128: storing(simd(0x0b), 2), f64: storing([0x39], 3) };

/** local += by */
export const advance = (local: number, by: Code): Code => set(local, add(get(local), by));

/** do { body } while (condition) */
export const doWhile = (body: Code, condition: Code): Code => [
  ...[0x03, 0x40],
  ...body,
  ...condition,
  ...[0x0d, 0x00, 0x0b],
];

export const when = (condition: Code, body: Code): Code => [
  ...condition,
  ...[0x04, 0x40],
  ...body,
  0x0b,
];

/** while (condition) { body } */
export const whileTrue = (condition: Code, body: Code): Code =>
  when(condition, doWhile(body, condition));

/** A function of i32 parameters without a result. */
export interface WasmFunction {
  readonly name: string;
  readonly parameters: number;
  /** [count, type] of the locals behind the parameters, in order */
  readonly locals: readonly (readonly [number, number])[];
  readonly body: Code;
}

/** A module with these functions over the memory e.m, of `pages` pages of 64 KiB. */
function moduleBytes(functions: readonly WasmFunction[], pages: number): Uint8Array {
  const text = (name: string) => [name.length, ...Array.from(name, (c) => c.charCodeAt(0))];
  const vector = (items: readonly Code[]) => [...leb(items.length), ...items.flat()];
  const section = (id: number, content: Code) => [id, ...leb(content.length), ...content];
  const signatures = functions.map(({ parameters }) => [
    ...[0x60, parameters],
    ...Array<number>(parameters).fill(I32),
    0,
  ]);
  const bodies = functions.map(({ locals: own, body }) => {
    const code = [...vector(own.map(([n, type]) => [...leb(n), type])), ...body, 0x0b];
    return [...leb(code.length), ...code];
  });
  const memoryImport = [...text('e'), ...text('m'), 0x02, 0x01, ...leb(pages), ...leb(pages)];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, vector(signatures)),
    ...section(2, vector([memoryImport])),
    ...section(3, vector(functions.map((_, i) => [i]))),
    ...section(7, vector(functions.map(({ name }, i) => [...text(name), 0x00, i]))),
    ...section(10, vector(bodies)),
  ]);
}

// The types of WebAssembly belong to the library of browsers, which this project does not load.
interface Memory {
  readonly buffer: ArrayBuffer;
}
interface WebAssemblyNames {
  readonly Memory: new (limits: { initial: number; maximum: number }) => Memory;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (
    module: object,
    imports: object,
  ) => { readonly exports: Readonly<Record<string, (...parameters: number[]) => void>> };
}
const wasm = (globalThis as unknown as { WebAssembly: WebAssemblyNames }).WebAssembly;

/** One memory, zero at first, that is given out in order, and functions over it. */
export class Arena {
  private readonly buffer: ArrayBuffer;
  readonly functions: Readonly<Record<string, (...parameters: number[]) => void>>;
  private used = 0;

  /** bytes: all that will be allocated before the next `reset`. */
  constructor(
    readonly bytes: number,
    functions: readonly WasmFunction[],
  ) {
    const pages = Math.ceil(bytes / pageBytes) + 1;
    const owned = new wasm.Memory({ initial: pages, maximum: pages });
    this.buffer = owned.buffer;
    const module = new wasm.Module(moduleBytes(functions, pages));
    this.functions = new wasm.Instance(module, { e: { m: owned } }).exports;
  }

  /** Address of `bytes` bytes, a multiple of a vector's 16. */
  private take(bytes: number): number {
    const at = this.used;
    if (at + bytes > this.buffer.byteLength) {
      throw new RangeError(`arena: ${at + bytes} bytes, ${this.buffer.byteLength} are there`);
    }
    this.used = Math.ceil((at + bytes) / 16) * 16;
    return at;
  }

  f64(length: number): Float64Array {
    return new Float64Array(this.buffer, this.take(8 * length), length);
  }

  u8(length: number): Uint8Array {
    return new Uint8Array(this.buffer, this.take(length), length);
  }

  i32(length: number): Int32Array {
    return new Int32Array(this.buffer, this.take(4 * length), length);
  }

  f32(length: number): Float32Array {
    return new Float32Array(this.buffer, this.take(4 * length), length);
  }

  /** What was allocated is given out again, as it was left. */
  reset(): void {
    this.used = 0;
  }
}
