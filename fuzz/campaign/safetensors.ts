// safetensors.ts - reads slices of fp16 tensors, and tensors as bytes, from a .safetensors file.
//
// Format: uint64 length (little endian), that many bytes of JSON {name: {dtype, shape,
// data_offsets}}, then the data (github.com/huggingface/safetensors, README). Only the header is
// kept in memory; a slice is read from the file when it is asked for, so that a 12 MB cache costs a
// few kB.
//
// The file may come from anybody: every number of the header is checked against the file's size,
// and an error is a sentence, never an exception. `slice` reads F16 only; `bytes` leaves it to the
// caller what the elements are.

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { reasonOf } from './workdir.js';

/** The largest header that is parsed. The format's own limit is 100 MB; ours are 2 kB. */
const HEADER_BYTES_MAX = 1 << 20;

export interface TensorEntry {
  dtype: string;
  shape: readonly number[];
  /** bytes from the start of the file */
  start: number;
  elements: number;
}

export type SafetensorsResult =
  | { kind: 'file'; file: SafetensorsFile }
  | { kind: 'error'; message: string };

export type SliceResult =
  | { kind: 'values'; values: Uint16Array }
  | { kind: 'error'; message: string };

export type BytesResult = { kind: 'bytes'; bytes: Buffer } | { kind: 'error'; message: string };

export class SafetensorsFile {
  private constructor(
    readonly path: string,
    private readonly descriptor: number,
    readonly tensors: ReadonlyMap<string, TensorEntry>,
  ) {}

  static open(path: string): SafetensorsResult {
    let descriptor: number;
    try {
      descriptor = openSync(path, 'r');
    } catch (error) {
      return { kind: 'error', message: `${path}: cannot be read (${reasonOf(error)})` };
    }
    const header = readHeader(path, descriptor);
    if (header.kind === 'error') {
      closeSync(descriptor);
      return header;
    }
    return { kind: 'file', file: new SafetensorsFile(path, descriptor, header.tensors) };
  }

  /** `count` elements from element `first` of a tensor in row-major order. */
  slice(name: string, first: number, count: number): SliceResult {
    const entry = this.tensors.get(name);
    if (entry === undefined) {
      return { kind: 'error', message: `${this.path}: has no tensor "${name}"` };
    }
    if (entry.dtype !== 'F16') {
      return {
        kind: 'error',
        message: `${this.path}: ${name} has dtype ${entry.dtype}, F16 is required`,
      };
    }
    if (first < 0 || count < 0 || first + count > entry.elements) {
      const range = `${first} to ${first + count}`;
      return {
        kind: 'error',
        message: `${this.path}: elements ${range} of ${name} wanted, it has ${entry.elements}`,
      };
    }
    const bytes = Buffer.alloc(count * 2);
    readExactly(this.descriptor, bytes, entry.start + first * 2);
    // Little endian on every machine that Node supports, as the file is.
    return { kind: 'values', values: new Uint16Array(bytes.buffer, bytes.byteOffset, count) };
  }

  /** The bytes of a whole tensor of any type. */
  bytes(name: string): BytesResult {
    const entry = this.tensors.get(name);
    if (entry === undefined) {
      return { kind: 'error', message: `${this.path}: has no tensor "${name}"` };
    }
    const bytes = Buffer.alloc(entry.elements * ELEMENT_BYTES[entry.dtype]);
    readExactly(this.descriptor, bytes, entry.start);
    return { kind: 'bytes', bytes };
  }

  close(): void {
    closeSync(this.descriptor);
  }
}

type HeaderResult =
  | { kind: 'header'; tensors: Map<string, TensorEntry> }
  | { kind: 'error'; message: string };

function readHeader(path: string, descriptor: number): HeaderResult {
  const fail = (found: string): HeaderResult => ({
    kind: 'error',
    message: `${path}: ${found}, a .safetensors file is required`,
  });
  const stat = fstatSync(descriptor);
  if (!stat.isFile()) return fail('is not a regular file');
  const fileBytes = stat.size;
  if (fileBytes < 8) return fail(`has ${fileBytes} bytes`);
  const prefix = Buffer.alloc(8);
  readExactly(descriptor, prefix, 0);
  const headerBytes = prefix.readBigUInt64LE();
  if (headerBytes > BigInt(Math.min(HEADER_BYTES_MAX, fileBytes - 8))) {
    return fail(`states a header of ${headerBytes} bytes`);
  }
  const text = Buffer.alloc(Number(headerBytes));
  readExactly(descriptor, text, 8);
  let json: unknown;
  try {
    json = JSON.parse(text.toString('utf8'));
  } catch {
    return fail('has a header that is not JSON');
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    return fail('has a header that is not a JSON object');
  }
  const dataStart = 8 + Number(headerBytes);
  const tensors = new Map<string, TensorEntry>();
  for (const [name, value] of Object.entries(json)) {
    if (name === '__metadata__') continue;
    const entry = tensorEntry(value, dataStart, fileBytes);
    if (entry === null) return fail(`describes tensor "${name}" wrongly`);
    tensors.set(name, entry);
  }
  return { kind: 'header', tensors };
}

const ELEMENT_BYTES: Readonly<Record<string, number>> = {
  F16: 2,
  BF16: 2,
  F32: 4,
  F64: 8,
  I8: 1,
  U8: 1,
  I16: 2,
  I32: 4,
  I64: 8,
  BOOL: 1,
};

function tensorEntry(value: unknown, dataStart: number, fileBytes: number): TensorEntry | null {
  if (typeof value !== 'object' || value === null) return null;
  const { dtype, shape, data_offsets: offsets } = value as Record<string, unknown>;
  if (typeof dtype !== 'string' || !isCounts(shape) || !isCounts(offsets)) return null;
  if (offsets.length !== 2 || !Object.hasOwn(ELEMENT_BYTES, dtype)) return null;
  const elements = shape.reduce((product, extent) => product * extent, 1);
  const bytes = elements * ELEMENT_BYTES[dtype];
  if (!(bytes === offsets[1] - offsets[0])) return null;
  if (!(dataStart + offsets[1] <= fileBytes)) return null;
  return { dtype, shape, start: dataStart + offsets[0], elements };
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
}

function readExactly(descriptor: number, into: Uint8Array, position: number): void {
  let done = 0;
  while (done < into.length) {
    const read = readSync(descriptor, into, done, into.length - done, position + done);
    if (read === 0)
      throw new Error(`the file shrank while it was read (at byte ${position + done})`);
    done += read;
  }
}
