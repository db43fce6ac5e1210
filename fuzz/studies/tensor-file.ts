// tensor-file.ts - K, V or Q of the user's own from a .safetensors or a .npy file.
//
// Every mistake is one sentence: which file, what was found, what is required. Values become
// binary16, since that is what a cache holds: F16 as they are, BF16, F32 and F64 rounded once, and
// the sentence that says how many of them were changed by it is the caller's to print.
// Format of .npy: numpy/lib/format.py, versions 1 to 3; C order and little endian only.

import { readFileSync } from 'node:fs';
import { f16FromF64, f16Values } from '../../reference/format.js';
import { SafetensorsFile } from '../campaign/safetensors.js';
import { reasonOf } from '../campaign/workdir.js';

export interface UserTensor {
  readonly kind: 'tensor';
  readonly shape: readonly number[];
  /** binary16 values */
  readonly values: Float32Array;
  /** Values that binary16 does not hold exactly. */
  readonly rounded: number;
}

export type TensorFileResult = UserTensor | { readonly kind: 'error'; readonly message: string };

/** 2^27 elements, 128 heads of 8,192 tokens: more than a study needs and half a GB as floats. */
const ELEMENTS_MAX = 2 ** 27;

/** "file.npy", "file.safetensors" with one tensor, or "file.safetensors:name". */
export function readTensorFile(text: string): TensorFileResult {
  const named = /^(.*\.safetensors):(.+)$/.exec(text);
  const path = named?.[1] ?? text;
  if (path.endsWith('.safetensors')) return readSafetensors(path, named?.[2] ?? null);
  if (path.endsWith('.npy')) return readNpy(path);
  return fail(path, 'has another ending', '.safetensors or .npy is required');
}

function fail(path: string, found: string, required: string): TensorFileResult {
  return { kind: 'error', message: `${path}: ${found}, ${required}` };
}

function readSafetensors(path: string, name: string | null): TensorFileResult {
  const opened = SafetensorsFile.open(path);
  if (opened.kind === 'error') return opened;
  const { file } = opened;
  try {
    const names = [...file.tensors.keys()];
    if (name === null && names.length !== 1) {
      return fail(path, `holds ${names.length} tensors`, `write ${path}:NAME, ${list(names)}`);
    }
    const chosen = name ?? names[0];
    const entry = file.tensors.get(chosen);
    if (entry === undefined) return fail(path, `has no tensor "${chosen}"`, list(names));
    const type = TYPES[entry.dtype];
    if (type === undefined) {
      return fail(path, `${chosen} has dtype ${entry.dtype}`, 'F16, BF16, F32 or F64 is required');
    }
    if (entry.elements > ELEMENTS_MAX) return tooLarge(path, entry.elements);
    const read = file.bytes(chosen);
    if (read.kind === 'error') return read;
    return tensorOf(entry.shape, type, read.bytes);
  } finally {
    file.close();
  }
}

const list = (names: readonly string[]) => `there are ${names.slice(0, 8).join(', ') || 'none'}`;

function tooLarge(path: string, elements: number): TensorFileResult {
  return fail(path, `has ${elements} elements`, `at most ${ELEMENTS_MAX} are read`);
}

type Decode = (bytes: DataView, element: number) => number;

const scratch = new DataView(new ArrayBuffer(4));

/** Element types by their name in safetensors. */
const TYPES: Readonly<Record<string, { bytes: number; decode: Decode }>> = {
  F16: { bytes: 2, decode: (view, i) => f16Values[view.getUint16(2 * i, true)] },
  BF16: {
    bytes: 2,
    decode: (view, i) => {
      scratch.setUint32(0, view.getUint16(2 * i, true) * 65536);
      return scratch.getFloat32(0);
    },
  },
  F32: { bytes: 4, decode: (view, i) => view.getFloat32(4 * i, true) },
  F64: { bytes: 8, decode: (view, i) => view.getFloat64(8 * i, true) },
};

/** dtype in .npy to a type above. */
const NPY_TYPES: Readonly<Record<string, string>> = { '<f2': 'F16', '<f4': 'F32', '<f8': 'F64' };

function tensorOf(
  shape: readonly number[],
  { decode }: { decode: Decode },
  bytes: Buffer,
): UserTensor {
  const elements = shape.reduce((product, extent) => product * extent, 1);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = new Float32Array(elements);
  let rounded = 0;
  for (let i = 0; i < elements; i++) {
    const value = decode(view, i);
    values[i] = f16Values[f16FromF64(value)];
    if (values[i] !== value && !Number.isNaN(value)) rounded += 1;
  }
  return { kind: 'tensor', shape, values, rounded };
}

function readNpy(path: string): TensorFileResult {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    return { kind: 'error', message: `${path}: cannot be read (${reasonOf(error)})` };
  }
  const wrong = (found: string) => fail(path, found, 'a .npy file is required');
  if (bytes.length < 12 || bytes.toString('latin1', 0, 6) !== '\x93NUMPY') {
    return wrong('does not begin as one');
  }
  const [major] = bytes.subarray(6);
  if (major < 1 || major > 3) return wrong(`has version ${major}`);
  const lengthBytes = major === 1 ? 2 : 4;
  const headerBytes = bytes.readUIntLE(8, lengthBytes);
  const start = 8 + lengthBytes + headerBytes;
  if (start > bytes.length) return wrong(`states a header of ${headerBytes} bytes`);
  const header = bytes.toString('latin1', 8 + lengthBytes, start);
  const descr = /'descr':\s*'([^']*)'/.exec(header)?.[1];
  const order = /'fortran_order':\s*(True|False)/.exec(header)?.[1];
  const shapeText = /'shape':\s*\(([\d,\s]*)\)/.exec(header)?.[1];
  if (descr === undefined || order === undefined || shapeText === undefined) {
    return wrong('has a header without descr, fortran_order and shape');
  }
  const type = TYPES[NPY_TYPES[descr] ?? ''];
  if (type === undefined) return fail(path, `has dtype ${descr}`, '<f2, <f4 or <f8 is required');
  if (order === 'True') return fail(path, 'is in Fortran order', 'C order is required');
  const shape = shapeText.split(',').filter((word) => word.trim() !== '');
  const extents = shape.map(Number);
  const elements = extents.reduce((product, extent) => product * extent, 1);
  if (elements > ELEMENTS_MAX) return tooLarge(path, elements);
  if (bytes.length - start !== elements * type.bytes) {
    return wrong(`holds ${bytes.length - start} bytes for shape (${extents.join(', ')})`);
  }
  return tensorOf(extents, type, bytes.subarray(start));
}
