// code-lm.ts - the real KV cache of corpus/code-lm as a TensorSource.
//
// K and V are stored as (KV heads, tokens, head size), which is how a source hands them out; Q is
// stored as (tokens, query heads, head size) and is turned round here. A layer of one tensor is 2
// MB and is read when a case asks for it; the last few are kept, since neighbouring cases share
// them.

import { join } from 'node:path';
import type { TensorName } from '../../properties/case.js';
import type { SourceResult, SourceTensor, TensorSource } from '../../properties/materialize.js';
import { packageRoot } from './package-root.js';
import { SafetensorsFile } from './safetensors.js';

/** K and V of three layers: 12 MB at most. */
const TENSORS_KEPT = 6;

const FILES: Readonly<Record<TensorName, string>> = {
  q: 'kv-q-eval.safetensors',
  k: 'kv-k.safetensors',
  v: 'kv-v.safetensors',
};

export function codeLmSource(folder = join(packageRoot(), 'corpus', 'code-lm')): TensorSource {
  const kept = new Map<string, SourceTensor>();
  return {
    tensor(_name, tensor, layer) {
      const key = `layer${layer}.${tensor}`;
      const known = kept.get(key);
      const found = known ?? readTensor(join(folder, FILES[tensor]), key, tensor);
      if (found.kind === 'tensor') {
        kept.delete(key); // the order of a Map is that of insertion: the last used goes to its end
        kept.set(key, found);
        if (kept.size > TENSORS_KEPT) kept.delete(kept.keys().next().value as string);
      }
      return found;
    },
  };
}

function readTensor(path: string, key: string, tensor: TensorName): SourceResult {
  const opened = SafetensorsFile.open(path);
  if (opened.kind === 'error') return { kind: 'missing', message: opened.message };
  const { file } = opened;
  try {
    const entry = file.tensors.get(key);
    if (entry === undefined || entry.shape.length !== 3) {
      return { kind: 'missing', message: `${path}: has no three-dimensional tensor "${key}"` };
    }
    const slice = file.slice(key, 0, entry.elements);
    if (slice.kind === 'error') return { kind: 'missing', message: slice.message };
    const [first, second, headSize] = entry.shape;
    if (tensor !== 'q') {
      return { kind: 'tensor', heads: first, tokens: second, headSize, f16: slice.values };
    }
    const f16 = swapOuter(slice.values, first, second, headSize);
    return { kind: 'tensor', heads: second, tokens: first, headSize, f16 };
  } finally {
    file.close();
  }
}

/** (a, b, n) to (b, a, n). */
function swapOuter(values: Uint16Array, a: number, b: number, n: number): Uint16Array {
  const out = new Uint16Array(values.length);
  for (let i = 0; i < a; i++) {
    for (let j = 0; j < b; j++) {
      out.set(values.subarray((i * b + j) * n, (i * b + j + 1) * n), (j * a + i) * n);
    }
  }
  return out;
}
