// parseCase: a Case from JSON that nobody vouches for.
//
// Strict: every field but those with a default (case.ts) is required, unknown keys are refused,
// numbers are finite and in range, sizes and their product are bounded before anything is
// allocated. Only own data properties of plain objects are read, to a fixed depth, so prototypes,
// accessors and deep nesting cannot do harm. The result is built anew and shares nothing with the
// input. Errors are one sentence that names the path:
//   case.problem.tokens[3]: found -1, required an integer from 0 to 1000000
//
// What a problem or a scheme means is judged by reference/problem.ts and reference/scheme.ts.

import type { ElementType } from '../reference/format.js';
import { caseSchemeError } from '../reference/formats/case-scheme.js';
import { type Problem, problemError, queryTokensMax } from '../reference/problem.js';
import type { Scheme } from '../reference/scheme.js';
import {
  CASE_SCHEMA,
  type Case,
  type CaseOptions,
  PAGE_ORDERS,
  type PageOptions,
  type PageOrder,
  type TensorName,
  tensorElements,
  withoutDefaults,
} from './case.js';
import {
  base64Length,
  CODE_LM_LAYERS,
  CODE_LM_TOKENS,
  DISTRIBUTIONS,
  type Distribution,
  decodeF16,
  OFFSET_MAX,
  type Recipe,
  SCALE_MAX,
  SCALE_MIN,
  SEED_MAX,
} from './recipe.js';

export const LIMITS = {
  requests: 4096,
  tokens: 1_000_000,
  heads: 1024,
  headSize: 1024,
  splits: 4096,
  softmaxScale: 32768,
  queryTokens: queryTokensMax,
  /** A step is a launch. */
  appended: 4096,
  inputPadding: 64,
  sparePages: 4096,
  sharedRecords: 8192,
  /** Of one tensor: 256 MiB of fp16. */
  elements: 2 ** 27,
} as const;

export type ParsedCase =
  | { readonly kind: 'case'; readonly case: Case }
  | { readonly kind: 'error'; readonly message: string };

type Fields = Readonly<Record<string, unknown>>;

/** Reads fields and keeps the first complaint; after one, every read gives a harmless value. */
class Reader {
  message: string | null = null;

  refuse(path: string, found: string, required: string): void {
    this.message ??= `${path}: found ${found}, required ${required}`;
  }

  /**
   * The own data properties of a plain object that has these keys, and of the optional ones any.
   */
  fields(
    path: string,
    value: unknown,
    keys: readonly string[],
    optional: readonly string[] = [],
  ): Fields {
    const perhaps = optional.length === 0 ? '' : ` and perhaps ${optional.join(', ')}`;
    const required = `an object with the keys ${keys.join(', ')}${perhaps}`;
    const plain = ownFields(value, keys.length + optional.length + 1);
    if (plain === null) {
      this.refuse(path, show(value), required);
      return {};
    }
    for (const key of Object.keys(plain)) {
      if (!keys.includes(key) && !optional.includes(key)) {
        this.refuse(path, `the key ${show(key)}`, required);
      }
    }
    for (const key of keys) {
      if (!Object.hasOwn(plain, key)) this.refuse(`${path}.${key}`, 'nothing', 'a value');
    }
    return plain;
  }

  integer(path: string, value: unknown, min: number, max: number): number {
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) {
      return value + 0; // -0 becomes 0: both print as 0
    }
    this.refuse(path, show(value), `an integer from ${min} to ${max}`);
    return min;
  }

  /** One of a few texts. */
  oneOf<T extends string>(path: string, value: unknown, texts: readonly T[]): T {
    const found = texts.find((text) => text === value);
    if (found !== undefined) return found;
    this.refuse(path, show(value), texts.map((text) => quote(text)).join(' or '));
    return texts[0];
  }

  text(path: string, value: unknown, lengthMax: number): string {
    if (typeof value === 'string' && value.length <= lengthMax) return value;
    this.refuse(path, show(value), `a text of at most ${lengthMax} characters`);
    return '';
  }

  array(path: string, value: unknown, min: number, max: number): readonly unknown[] {
    if (Array.isArray(value) && value.length >= min && value.length <= max) return value;
    this.refuse(path, show(value), `an array of ${min} to ${max} values`);
    return [];
  }
}

/**
 * Own enumerable data properties as an object without prototype, or null if `value` is not plain.
 */
function ownFields(value: unknown, countMax: number): Fields | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return null;
  const out: Record<string, unknown> = Object.create(null);
  // Some key beyond the allowed ones is enough to refuse: do not copy a million of them.
  for (const key of Reflect.ownKeys(value).slice(0, countMax)) {
    const property = Object.getOwnPropertyDescriptor(value, key);
    if (typeof key !== 'string' || property === undefined || !('value' in property)) return null;
    out[key] = property.value;
  }
  return out;
}

/** A short, one-line picture of anything. */
function show(value: unknown): string {
  if (typeof value === 'string') return quote(value);
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value);
  if (typeof value === 'boolean' || value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return `an array of ${value.length}`;
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

function quote(text: string): string {
  const quoted = JSON.stringify(text.length > 40 ? `${text.slice(0, 37)}...` : text);
  // JSON leaves U+007F to U+009F as they are, which a terminal may obey.
  return quoted.replace(/\p{Cc}/gu, (c) => `\\u00${c.charCodeAt(0).toString(16)}`);
}

export function parseCase(json: unknown): ParsedCase {
  const reader = new Reader();
  const root = reader.fields('case', json, ['schema', 'problem', 'scheme', 'tensors', 'options']);
  if (root.schema !== CASE_SCHEMA) {
    reader.refuse('case.schema', show(root.schema), JSON.stringify(CASE_SCHEMA));
  }
  const problem = readProblem(reader, root.problem);
  const scheme = readScheme(reader, root.scheme);
  const options = readOptions(reader, root.options);
  if (reader.message !== null) return { kind: 'error', message: reader.message };
  const wrong = problemError(problem) ?? caseSchemeError(scheme, problem) ?? sizeError(problem);
  if (wrong !== null) return { kind: 'error', message: `case.${wrong}` };
  const tensors = readTensors(reader, root.tensors, problem);
  if (reader.message !== null) return { kind: 'error', message: reader.message };
  const read: Case = { schema: CASE_SCHEMA, problem, scheme, tensors, options };
  return { kind: 'case', case: withoutDefaults(read) };
}

function readProblem(reader: Reader, value: unknown): Problem {
  const path = 'case.problem';
  const keys = ['tokens', 'queryHeads', 'kvHeads', 'headSize'];
  const fields = reader.fields(path, value, keys, ['queryTokens', 'type']);
  const { queryTokens = 1, type = 'fp16' } = fields;
  const lengths = reader.array(`${path}.tokens`, fields.tokens, 1, LIMITS.requests);
  const tokens: number[] = [];
  for (let i = 0; i < lengths.length; i++) {
    tokens.push(reader.integer(`${path}.tokens[${i}]`, lengths[i], 0, LIMITS.tokens));
  }
  return {
    tokens,
    queryHeads: reader.integer(`${path}.queryHeads`, fields.queryHeads, 1, LIMITS.heads),
    kvHeads: reader.integer(`${path}.kvHeads`, fields.kvHeads, 1, LIMITS.heads),
    headSize: reader.integer(`${path}.headSize`, fields.headSize, 1, LIMITS.headSize),
    queryTokens: reader.integer(`${path}.queryTokens`, queryTokens, 1, LIMITS.queryTokens),
    type: reader.oneOf<ElementType>(`${path}.type`, type, ['fp16', 'bf16']),
  };
}

function readScheme(reader: Reader, value: unknown): Scheme {
  const path = 'case.scheme';
  const fields = reader.fields(path, value, ['format', 'kAxis', 'bits', 'group']);
  const read = {
    format: reader.text(`${path}.format`, fields.format, 32),
    kAxis: reader.text(`${path}.kAxis`, fields.kAxis, 32),
    bits: reader.integer(`${path}.bits`, fields.bits, 1, 16),
    group: reader.integer(`${path}.group`, fields.group, 1, 65536),
  };
  // Only the types are known to be right so far; parseCase asks schemeError for the rest.
  return read as unknown as Scheme;
}

function readOptions(reader: Reader, value: unknown): CaseOptions {
  const path = 'case.options';
  const optional = ['pages', 'appended', 'inputPadding'];
  const fields = reader.fields(path, value, ['softmaxScale', 'splits'], optional);
  const { appended = 0, inputPadding = 0, pages } = fields;
  const scale = fields.softmaxScale;
  const max = LIMITS.softmaxScale;
  if (typeof scale !== 'number' || !(Math.abs(scale) <= max)) {
    reader.refuse(`${path}.softmaxScale`, show(scale), `a number from -${max} to ${max}`);
  }
  return {
    // What a kernel receives is a float32: rounding here makes the stored case say so.
    softmaxScale: Math.fround(Number(scale)) + 0,
    splits: reader.integer(`${path}.splits`, fields.splits, 0, LIMITS.splits),
    appended: reader.integer(`${path}.appended`, appended, 0, LIMITS.appended),
    inputPadding: readPadding(reader, `${path}.inputPadding`, inputPadding),
    ...(pages === undefined ? {} : { pages: readPages(reader, `${path}.pages`, pages) }),
  };
}

function readPadding(reader: Reader, path: string, value: unknown): number {
  const padding = reader.integer(path, value, 0, LIMITS.inputPadding);
  if (padding % 8 !== 0) reader.refuse(path, show(value), 'a multiple of 8');
  return padding;
}

function readPages(reader: Reader, path: string, value: unknown): PageOptions {
  const fields = reader.fields(path, value, ['order', 'seed', 'spare', 'sharedRecords']);
  const { sharedRecords: shared } = fields;
  return {
    order: reader.oneOf<PageOrder>(`${path}.order`, fields.order, PAGE_ORDERS),
    seed: reader.integer(`${path}.seed`, fields.seed, 0, SEED_MAX),
    spare: reader.integer(`${path}.spare`, fields.spare, 0, LIMITS.sparePages),
    sharedRecords: reader.integer(`${path}.sharedRecords`, shared, 0, LIMITS.sharedRecords),
  };
}

/** The product of the sizes, each of which is in range by now: below 2^53, so exact. */
function sizeError(problem: Problem): string | null {
  const { q, kv } = tensorElements(problem);
  const largest = Math.max(q, kv);
  if (largest <= LIMITS.elements) return null;
  const required = `at most ${LIMITS.elements} in one tensor`;
  return `problem: found ${largest} elements, required ${required}`;
}

function readTensors(reader: Reader, value: unknown, problem: Problem): Case['tensors'] {
  const fields = reader.fields('case.tensors', value, ['q', 'k', 'v']);
  const elements = tensorElements(problem);
  const read = (name: TensorName, count: number) =>
    readRecipe(reader, `case.tensors.${name}`, fields[name], count);
  return { q: read('q', elements.q), k: read('k', elements.kv), v: read('v', elements.kv) };
}

function readRecipe(reader: Reader, path: string, value: unknown, elements: number): Recipe {
  const distribution = ownFields(value, 5)?.distribution;
  if (distribution === 'literal') {
    const { f16 } = reader.fields(path, value, ['distribution', 'f16']);
    const text = reader.text(`${path}.f16`, f16, base64Length(elements));
    if (reader.message === null && decodeF16(text, elements) === null) {
      reader.refuse(`${path}.f16`, show(text), `base64 of ${elements} fp16 values`);
    }
    return { distribution, f16: text };
  }
  if (distribution === 'code-lm') {
    const fields = reader.fields(path, value, ['distribution', 'layer', 'firstToken']);
    const layer = reader.integer(`${path}.layer`, fields.layer, 0, CODE_LM_LAYERS - 1);
    const first = reader.integer(`${path}.firstToken`, fields.firstToken, 0, CODE_LM_TOKENS - 1);
    return { distribution, layer, firstToken: first };
  }
  const fields = reader.fields(path, value, ['distribution', 'seed', 'scale', 'offset']);
  if (!DISTRIBUTIONS.includes(distribution as Distribution)) {
    const names = [...DISTRIBUTIONS, 'code-lm', 'literal'].join(', ');
    reader.refuse(`${path}.distribution`, show(distribution), `one of ${names}`);
  }
  return {
    distribution: distribution as Distribution,
    seed: reader.integer(`${path}.seed`, fields.seed, 0, SEED_MAX),
    scale: reader.integer(`${path}.scale`, fields.scale, SCALE_MIN, SCALE_MAX),
    offset: reader.integer(`${path}.offset`, fields.offset, -OFFSET_MAX, OFFSET_MAX),
  };
}
