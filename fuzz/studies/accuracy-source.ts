// accuracy-source.ts - where the K, V and Q of the accuracy study come from, as data, and the
// samples that they are: a layer and head of the real cache, a named distribution with a seed, or a
// head of the user's own files. A sample is one KV head with the queries that read it.

import { join } from 'node:path';
import { CASE_SCHEMA, type Case } from '../../properties/case.js';
import { materialize, noSource } from '../../properties/materialize.js';
import { CODE_LM_LAYERS, type Distribution } from '../../properties/recipe.js';
import { f16Values } from '../../reference/format.js';
import { codeLmSource } from '../campaign/code-lm.js';
import type { HeadSample } from './attention-error.js';
import { MODEL } from './code-lm-model.js';
import { readTensorFile, type UserTensor } from './tensor-file.js';

export type AccuracySource =
  | { readonly kind: 'code-lm'; readonly layer: number; readonly head: number; tokens: number }
  | {
      readonly kind: 'drawn';
      readonly distribution: Distribution;
      readonly seed: number;
      readonly tokens: number;
    }
  | { readonly kind: 'files'; readonly files: UserFiles; readonly head: number };

export interface UserFiles {
  readonly k: string;
  readonly v: string;
  readonly q: string;
  /** null: 1 / sqrt(head size). */
  readonly softmaxScale: number | null;
}

export type SampleResult =
  | { readonly kind: 'sample'; readonly sample: HeadSample }
  | { readonly kind: 'error'; readonly message: string };

/** Queries of a drawn sample, and of a layer and head of the real cache. */
const DRAWN_QUERIES = 8;
const STORED_QUERIES = 32;
/** Tokens of the real cache that lie before every stored query. */
export const CODE_LM_TOKENS_SEEN = 4032;
const DRAWN_HEAD_SIZE = 128;

export const CODE_LM_SOURCES = Array.from({ length: CODE_LM_LAYERS * MODEL.kvHeads }, (_, i) => ({
  layer: Math.floor(i / MODEL.kvHeads),
  head: i % MODEL.kvHeads,
}));

/** The name of what a source stands for; its layers, heads or seeds are repeats of it. */
export function sourceName(source: AccuracySource): string {
  if (source.kind === 'drawn') return source.distribution;
  return source.kind;
}

/** The name of the one repeat. */
export function sourceUnit(source: AccuracySource): string {
  if (source.kind === 'code-lm') return `layer ${source.layer} head ${source.head}`;
  return source.kind === 'drawn' ? `seed ${source.seed}` : `head ${source.head}`;
}

const cache = codeLmSource();

export function sampleOf(source: AccuracySource, folder?: string): SampleResult {
  if (source.kind === 'code-lm') return storedSample(source, folder);
  return source.kind === 'drawn' ? drawnSample(source) : userSample(source);
}

const fail = (message: string): SampleResult => ({ kind: 'error', message });

const values = (bits: Uint16Array) => Float32Array.from(bits, (word) => f16Values[word]);

/** The last `tokens` tokens before the first stored query, and every fourth query of both heads. */
function storedSample(
  { layer, head, tokens }: Extract<AccuracySource, { kind: 'code-lm' }>,
  folder?: string,
): SampleResult {
  const source = folder === undefined ? cache : codeLmSource(join(folder));
  const read = (name: 'q' | 'k' | 'v') => source.tensor('code-lm', name, layer);
  const [q, k, v] = [read('q'), read('k'), read('v')];
  for (const each of [q, k, v]) if (each.kind === 'missing') return fail(each.message);
  if (q.kind === 'missing' || k.kind === 'missing' || v.kind === 'missing') return fail('missing');
  const { headSize, queryHeads, kvHeads } = MODEL;
  const first = CODE_LM_TOKENS_SEEN - tokens;
  if (first < 0)
    return fail(`code-lm: ${tokens} tokens, at most ${CODE_LM_TOKENS_SEEN} are stored`);
  const rows = (x: Uint16Array, at: number, count: number) =>
    values(x.subarray(at * headSize, (at + count) * headSize));
  const queries = new Float32Array(STORED_QUERIES * headSize);
  const members = queryHeads / kvHeads;
  for (let i = 0; i < STORED_QUERIES; i++) {
    const queryHead = head * members + (i % members);
    const position = Math.floor((i / STORED_QUERIES) * q.tokens);
    queries.set(rows(q.f16, queryHead * q.tokens + position, 1), i * headSize);
  }
  return {
    kind: 'sample',
    sample: {
      ...{ tokens, headSize, queries: STORED_QUERIES, q: queries },
      softmaxScale: Math.fround(1 / Math.sqrt(headSize)),
      k: rows(k.f16, head * k.tokens + first, tokens),
      v: rows(v.f16, head * v.tokens + first, tokens),
    },
  };
}

/** K and V of one distribution and seed; queries are normal, so that scores spread by K alone. */
function drawnSample({
  distribution,
  seed,
  tokens,
}: Extract<AccuracySource, { kind: 'drawn' }>): SampleResult {
  const recipe = { distribution, seed, scale: 0, offset: 0 };
  const softmaxScale = Math.fround(1 / Math.sqrt(DRAWN_HEAD_SIZE));
  const c: Case = {
    schema: CASE_SCHEMA,
    problem: { tokens: [tokens], queryHeads: DRAWN_QUERIES, kvHeads: 1, headSize: DRAWN_HEAD_SIZE },
    scheme: { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 32 },
    tensors: { q: { ...recipe, distribution: 'normal' }, k: recipe, v: recipe },
    options: { softmaxScale, splits: 0 },
  };
  const made = materialize(c, noSource);
  if (made.kind === 'error') return fail(made.message);
  const { q, k, v } = made.inputs;
  return {
    kind: 'sample',
    sample: {
      ...{ tokens, headSize: DRAWN_HEAD_SIZE, queries: DRAWN_QUERIES, softmaxScale },
      ...{ q: values(q), k: values(k), v: values(v) },
    },
  };
}

/** What the user's files hold, with their mistakes found before anything runs. */
export interface UserTensors {
  readonly kind: 'tensors';
  readonly heads: number;
  readonly tokens: number;
  readonly headSize: number;
  /** Of one KV head. */
  readonly queries: number;
  readonly q: UserTensor;
  readonly k: UserTensor;
  readonly v: UserTensor;
}

/** Queries that are used of one KV head, at most. */
const USER_QUERIES_MAX = 256;

export function readUserFiles(files: UserFiles): UserTensors | { kind: 'error'; message: string } {
  const error = (message: string) => ({ kind: 'error' as const, message });
  const read = {
    q: readTensorFile(files.q),
    k: readTensorFile(files.k),
    v: readTensorFile(files.v),
  };
  const { q, k, v } = read;
  if (k.kind === 'error') return error(`--k: ${k.message}`);
  if (v.kind === 'error') return error(`--v: ${v.message}`);
  if (q.kind === 'error') return error(`--q: ${q.message}`);
  const shapeText = (x: UserTensor) => `(${x.shape.join(', ')})`;
  for (const [name, x] of Object.entries({ k, v, q })) {
    if (x.shape.length !== 2 && x.shape.length !== 3) {
      const required = 'required (heads, tokens, head size) or (tokens, head size)';
      return error(`--${name}: found shape ${shapeText(x)}, ${required}`);
    }
    const stray = x.values.findIndex((value) => !Number.isFinite(value));
    if (stray >= 0) {
      return error(`--${name}: element ${stray} is ${x.values[stray]} in fp16, required finite`);
    }
  }
  const [heads, tokens, headSize] = threeExtents(k);
  if (k.shape.join() !== v.shape.join()) {
    return error(`--v: found shape ${shapeText(v)}, required that of --k, ${shapeText(k)}`);
  }
  const [queryHeads, positions, querySize] = threeExtents(q);
  if (querySize !== headSize) {
    return error(`--q: found head size ${querySize}, required ${headSize} as of --k`);
  }
  if (tokens === 0 || heads === 0) return error(`--k: found shape ${shapeText(k)}, it is empty`);
  if (headSize % 2 !== 0) return error(`--k: found head size ${headSize}, required an even one`);
  if (queryHeads === 0 || positions === 0 || queryHeads % heads !== 0) {
    const required = `required a multiple of the ${heads} heads of --k, and some queries`;
    return error(`--q: found shape ${shapeText(q)}, ${required}`);
  }
  const queries = Math.min(USER_QUERIES_MAX, (queryHeads / heads) * positions);
  return { kind: 'tensors', heads, tokens, headSize, queries, q, k, v };
}

function threeExtents({ shape }: UserTensor): readonly [number, number, number] {
  return shape.length === 3 ? [shape[0], shape[1], shape[2]] : [1, shape[0], shape[1]];
}

let lastFiles: { key: string; tensors: UserTensors } | null = null;

function userSample({ files, head }: Extract<AccuracySource, { kind: 'files' }>): SampleResult {
  const key = JSON.stringify(files);
  if (lastFiles?.key !== key) {
    const tensors = readUserFiles(files);
    if (tensors.kind === 'error') return tensors;
    lastFiles = { key, tensors };
  }
  const { heads, tokens, headSize, queries, q, k, v } = lastFiles.tensors;
  const own = (x: UserTensor) => {
    const size = x.values.length / heads;
    return x.values.subarray(head * size, (head + 1) * size);
  };
  return {
    kind: 'sample',
    sample: {
      ...{ tokens, headSize, queries },
      softmaxScale: Math.fround(files.softmaxScale ?? 1 / Math.sqrt(headSize)),
      // The last queries: those that come after the most of the cache.
      q: own(q).slice(-queries * headSize),
      k: own(k),
      v: own(v),
    },
  };
}
