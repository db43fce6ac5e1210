/**
 * Arrays of recorded results, for tests: corpus/vectors keeps what other programs wrote as base64
 * of its bytes, little-endian.
 */
import { f16Values } from '../format.js';

export function recordedBytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'base64'));
}

export function recordedWords(text: string): Uint16Array {
  return new Uint16Array(recordedBytes(text).buffer);
}

/** Values of binary16 words. */
export function recordedHalves(text: string): Float64Array {
  return Float64Array.from(recordedWords(text), (word) => f16Values[word]);
}

/** binary32 values */
export function recordedFloats(text: string): Float32Array {
  return new Float32Array(recordedBytes(text).buffer);
}
