// exec-frame.ts - one message of the process protocol as bytes (native/plugin/README.md):
//
//   4 bytes  "KVP1"
//   4 bytes  H, uint32, little endian: bytes of the header
//   8 bytes  N, uint64, little endian: bytes of all tensors
//   H bytes  the header: one JSON object in UTF-8; `tensors` lists {name, type, shape}
//   N bytes  the tensors in that order, row-major, little endian, nothing between them
//
// What comes back is a stranger's: sizes are checked before anything is allocated, and each
// complaint is one sentence. No process and no pipe here.

export const MAGIC = 'KVP1';
export const PREFIX_BYTES = 16;
export const HEADER_BYTES_MAX = 2 ** 20;
export const TENSOR_BYTES_MAX = 2 ** 31;

const TYPE_BYTES = { u8: 1, f16: 2, bf16: 2, f32: 4, i32: 4, i64: 8 } as const;
export type TensorType = keyof typeof TYPE_BYTES;

export interface FrameTensor {
  readonly name: string;
  readonly type: TensorType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

export interface Frame {
  readonly header: Readonly<Record<string, unknown>>;
  readonly tensors: readonly FrameTensor[];
}

/** A message that does not keep the protocol. */
export class FrameError extends Error {}

export function tensorOf(
  name: string,
  type: TensorType,
  shape: readonly number[],
  x: Uint8Array | Uint16Array | Float32Array,
): FrameTensor {
  const bytes = new Uint8Array(x.buffer, x.byteOffset, x.byteLength);
  return { name, type, shape, bytes };
}

/** The parts of a message, in the order in which they are written. */
export function encodeFrame({ header, tensors }: Frame): Uint8Array[] {
  const listed = tensors.map(({ name, type, shape }) => ({ name, type, shape }));
  const text = Buffer.from(JSON.stringify({ ...header, tensors: listed }), 'utf8');
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.write(MAGIC, 'latin1');
  prefix.writeUInt32LE(text.length, 4);
  prefix.writeBigUInt64LE(BigInt(tensors.reduce((sum, { bytes }) => sum + bytes.length, 0)), 8);
  return [Buffer.concat([prefix, text]), ...tensors.map(({ bytes }) => bytes)];
}

/** Sizes of what follows a prefix. */
export function decodePrefix(prefix: Uint8Array): { header: number; tensors: number } {
  const bytes = Buffer.from(prefix.buffer, prefix.byteOffset, prefix.byteLength);
  const magic = bytes.toString('latin1', 0, 4);
  if (magic !== MAGIC) {
    const start = JSON.stringify(bytes.toString('latin1'));
    throw new FrameError(`the answer starts with ${start}, a message starts with "${MAGIC}"`);
  }
  const header = bytes.readUInt32LE(4);
  if (header < 2 || header > HEADER_BYTES_MAX) {
    throw new FrameError(`the header has ${header} bytes, 2 to ${HEADER_BYTES_MAX} are allowed`);
  }
  const tensors = bytes.readBigUInt64LE(8);
  if (tensors > BigInt(TENSOR_BYTES_MAX)) {
    throw new FrameError(`the tensors have ${tensors} bytes, at most ${TENSOR_BYTES_MAX}`);
  }
  return { header, tensors: Number(tensors) };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function listedTensor(value: unknown, at: number): Omit<FrameTensor, 'bytes'> {
  const fail = (why: string): never => {
    throw new FrameError(`tensors[${at}]: ${why}`);
  };
  if (!isObject(value)) return fail('not an object with name, type and shape');
  const { name, type, shape } = value;
  if (typeof name !== 'string' || name === '') return fail('has no name');
  if (typeof type !== 'string' || !Object.hasOwn(TYPE_BYTES, type)) {
    const types = Object.keys(TYPE_BYTES).join(', ');
    return fail(`"${name}" has the type ${JSON.stringify(type)}, not one of ${types}`);
  }
  const isSize = (n: unknown) => Number.isSafeInteger(n) && Number(n) >= 0;
  if (!Array.isArray(shape) || shape.length > 8 || !shape.every(isSize)) {
    return fail(`"${name}" has the shape ${JSON.stringify(shape)}, not a list of sizes`);
  }
  return { name, type: type as TensorType, shape };
}

/** The header's JSON and the tensors behind it, cut into pieces. */
export function decodeBody(text: Uint8Array, body: Uint8Array): Frame {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text));
  } catch {
    const start = JSON.stringify(Buffer.from(text.subarray(0, 40)).toString('latin1'));
    throw new FrameError(`the header ${start}... is not JSON in UTF-8`);
  }
  if (!isObject(header)) throw new FrameError('the header is JSON, but no object');
  const list = header.tensors ?? [];
  if (!Array.isArray(list)) throw new FrameError('tensors: not a list');
  const tensors: FrameTensor[] = [];
  let at = 0;
  for (const [i, value] of list.entries()) {
    const listed = listedTensor(value, i);
    const size = listed.shape.reduce((product, n) => product * n, TYPE_BYTES[listed.type]);
    if (!(at + size <= body.length)) {
      const left = body.length - at;
      throw new FrameError(`tensors[${i}]: "${listed.name}" needs ${size} bytes, ${left} came`);
    }
    if (tensors.some(({ name }) => name === listed.name)) {
      throw new FrameError(`tensors[${i}]: "${listed.name}" comes twice`);
    }
    tensors.push({ ...listed, bytes: body.slice(at, at + size) });
    at += size;
  }
  if (at !== body.length) {
    throw new FrameError(`${body.length} bytes of tensors came, their shapes need ${at}`);
  }
  return { header, tensors };
}
