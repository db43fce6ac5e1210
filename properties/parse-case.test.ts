// Strict reading of hostile JSON, canonical form, name.
import { describe, expect, it } from 'vitest';
import { CASE_SCHEMA, type Case, canonicalJson, caseHash } from './case.js';
import { LIMITS, parseCase } from './parse-case.js';
import { encodeF16 } from './recipe.js';

const good: Case = {
  schema: CASE_SCHEMA,
  problem: { tokens: [0, 129], queryHeads: 4, kvHeads: 2, headSize: 128 },
  scheme: { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 32 },
  tensors: {
    q: { distribution: 'normal', seed: 4294967295, scale: -24, offset: -2048 },
    k: { distribution: 'code-lm', layer: 5, firstToken: 4095 },
    v: { distribution: 'zero', seed: 0, scale: 15, offset: 0 },
  },
  options: { softmaxScale: Math.fround(1 / Math.sqrt(128)), splits: 3 },
};

const pages = { order: 'shuffled' as const, seed: 7, spare: 3, sharedRecords: 2 };

type Json = Record<string, unknown>;

/** A copy of the good case with one place changed; `undefined` removes it. */
function changed(path: string, value: unknown): unknown {
  const copy = JSON.parse(JSON.stringify(good)) as Json;
  const keys = path.split('.');
  const last = keys.pop()!;
  let place = copy;
  for (const key of keys) place = place[key] as Json;
  if (value === undefined) delete place[last];
  else place[last] = value;
  return copy;
}

const message = (json: unknown): string => {
  const parsed = parseCase(json);
  return parsed.kind === 'error' ? parsed.message : 'no error';
};

describe('parseCase', () => {
  it('gives back a well-formed case as a new object', () => {
    const parsed = parseCase(JSON.parse(JSON.stringify(good)));
    expect(parsed).toEqual({ kind: 'case', case: good });
  });

  it.each([
    ['problem.tokens', [1, 2, 3, -1], 'case.problem.tokens[3]: found -1, required an integer'],
    ['problem.tokens', [1_000_001], 'case.problem.tokens[0]: found 1000001, required an integer'],
    ['problem.tokens', [1.5], 'case.problem.tokens[0]: found 1.5, required an integer'],
    ['problem.tokens', ['1'], 'case.problem.tokens[0]: found "1", required an integer'],
    ['problem.tokens', [null], 'case.problem.tokens[0]: found null, required an integer'],
    ['problem.tokens', [], 'case.problem.tokens: found an array of 0, required an array of 1'],
    ['problem.tokens', { length: 1, 0: 1 }, 'case.problem.tokens: found an object, required'],
    ['problem.tokens', new Array(5000).fill(1), 'case.problem.tokens: found an array of 5000'],
    ['problem.tokens', new Array(3), 'case.problem.tokens[0]: found undefined, required'],
    ['problem.queryHeads', 3, 'case.problem.queryHeads: 3 is not a multiple'],
    ['problem.kvHeads', 0, 'case.problem.kvHeads: found 0, required an integer from 1'],
    ['problem.headSize', Number.NaN, 'case.problem.headSize: found NaN, required an integer'],
    ['problem.pages', 1, 'case.problem: found the key "pages", required an object with the keys'],
    ['scheme.bits', 3, 'case.scheme.bits: 3 is not one of'],
    ['scheme.format', 'x'.repeat(33), 'case.scheme.format: found "xxx'],
    ['scheme.group', undefined, 'case.scheme.group: found nothing, required a value'],
    ['schema', 'kvproof.case/2', 'case.schema: found "kvproof.case/2", required "kvproof.case/1"'],
    ['options.softmaxScale', Number.POSITIVE_INFINITY, 'case.options.softmaxScale: found Infinity'],
    ['options.softmaxScale', Number.NaN, 'case.options.softmaxScale: found NaN, required a number'],
    ['options.softmaxScale', '1', 'case.options.softmaxScale: found "1", required a number'],
    ['options.splits', -1, 'case.options.splits: found -1, required an integer from 0'],
    ['tensors.q.seed', 4294967296, 'case.tensors.q.seed: found 4294967296, required an integer'],
    ['tensors.q.scale', 16, 'case.tensors.q.scale: found 16, required an integer from -24 to 15'],
    ['tensors.q.distribution', 'gauss', 'case.tensors.q.distribution: found "gauss", required one'],
    ['tensors.q.distribution', undefined, 'case.tensors.q.distribution: found nothing'],
    ['tensors.q.layer', 0, 'case.tensors.q: found the key "layer"'],
    ['tensors.k.layer', 6, 'case.tensors.k.layer: found 6, required an integer from 0 to 5'],
    ['tensors.v', [], 'case.tensors.v: found an array of 0, required an object'],
    ['tensors', undefined, 'case.tensors: found nothing'],
  ])('refuses %s = %j', (path, value, expected) => {
    expect(message(changed(path, value))).toContain(expected);
  });

  it.each([
    ['problem.queryTokens', 9, 'case.problem.queryTokens: found 9, required an integer from 1'],
    ['problem.type', 'f32', 'case.problem.type: found "f32", required "fp16" or "bf16"'],
    ['options.appended', -1, 'case.options.appended: found -1, required an integer from 0'],
    ['options.inputPadding', 12, 'case.options.inputPadding: found 12, required a multiple of 8'],
    ['options.inputPadding', 72, 'case.options.inputPadding: found 72, required an integer'],
    ['options.pages', null, 'case.options.pages: found null, required an object with the keys'],
    ['options.pages', { ...pages, order: 'any' }, 'case.options.pages.order: found "any"'],
    ['options.pages', { ...pages, seed: 0.5 }, 'case.options.pages.seed: found 0.5'],
    ['options.pages', { ...pages, spare: -1 }, 'case.options.pages.spare: found -1'],
    ['options.pages', { ...pages, table: [] }, 'case.options.pages: found the key "table"'],
  ])('refuses the optional %s = %j', (path, value, expected) => {
    expect(message(changed(path, value))).toContain(expected);
  });

  it('keeps optional keys and drops those that have their default', () => {
    const full = {
      ...good,
      problem: { ...good.problem, queryTokens: 8, type: 'bf16' as const },
      options: { ...good.options, pages, appended: 130, inputPadding: 64 },
    };
    expect(parseCase(JSON.parse(canonicalJson(full)))).toEqual({ kind: 'case', case: full });
    const plain = {
      ...good,
      problem: { ...good.problem, queryTokens: 1, type: 'fp16' as const },
      options: { ...good.options, appended: 0, inputPadding: 0 },
    };
    expect(parseCase(plain)).toEqual({ kind: 'case', case: good });
    expect(caseHash(plain)).toBe(caseHash(good));
    expect(caseHash(full)).not.toBe(caseHash(good));
  });

  it.each([null, undefined, 1, 'case', [], () => good, Symbol('case'), 10n])(
    'refuses a root that is not an object: %s',
    (json) => {
      expect(message(json)).toContain('case: found');
    },
  );

  it('refuses a product of sizes that are each in range, before anything is allocated', () => {
    const json = changed('problem', {
      tokens: [1e6, 1e6],
      queryHeads: 4,
      kvHeads: 4,
      headSize: 128,
    });
    expect(message(json)).toBe(
      `case.problem: found 1024000000 elements, required at most ${LIMITS.elements} in one tensor`,
    );
  });

  it('never reads a prototype, an accessor or a symbol', () => {
    expect(message(Object.create(good))).toContain('case: found an object');
    const json = changed('options.splits', 1) as Json;
    Object.defineProperty(json, 'options', { enumerable: true, get: () => good.options });
    expect(message(json)).toContain('case: found an object');
    expect(message({ ...good, [Symbol('x')]: 1 })).toContain('case: found an object');
    const proto = JSON.parse('{"__proto__": {"polluted": 1}, "schema": "kvproof.case/1"}');
    expect(message(proto)).toContain('found the key "__proto__"');
    expect(({} as Json).polluted).toBeUndefined();
  });

  it('survives deep nesting, many keys and a key of a megabyte, in a short sentence', () => {
    let deep: unknown = 0;
    for (let i = 0; i < 100_000; i++) deep = [deep];
    expect(message(changed('tensors.q', deep))).toContain('case.tensors.q');
    const wide = Object.fromEntries(Array.from({ length: 1e5 }, (_, i) => [`k${i}`, i]));
    expect(message(wide).length).toBeLessThan(200);
    expect(message(changed(`problem.${'k'.repeat(1e6)}`, 1)).length).toBeLessThan(200);
  });

  it('rounds the softmax scale to what a kernel receives, and -0 to 0', () => {
    const parsed = parseCase(changed('options', { softmaxScale: 0.1, splits: -0 }));
    expect(parsed.kind === 'case' && parsed.case.options).toEqual({
      softmaxScale: Math.fround(0.1),
      splits: 0,
    });
    const zero = parseCase(changed('options.softmaxScale', -0));
    expect(zero.kind === 'case' && Object.is(zero.case.options.softmaxScale, 0)).toBe(true);
  });

  it('takes a literal of exactly the right size and in canonical base64 only', () => {
    const values = Uint16Array.from({ length: 2 * 4 * 128 }, (_, i) => (i * 40503) & 0xffff);
    const text = encodeF16(values);
    expect(text).toBe(Buffer.from(values.buffer).toString('base64'));
    const literal = (f16: string) => changed('tensors.q', { distribution: 'literal', f16 });
    expect(message(literal(text))).toBe('no error');
    for (const wrong of [text.slice(4), `${text}AAAA`, text.replace('A', ' '), '', '====']) {
      expect(message(literal(wrong))).toContain('case.tensors.q.f16: found');
    }
  });
});

describe('the canonical form', () => {
  it('does not depend on the order of the keys', () => {
    const reversed = Object.fromEntries(Object.entries(good).reverse()) as unknown as Case;
    expect(canonicalJson(reversed)).toBe(canonicalJson(good));
  });

  it('parses back to the same case', () => {
    expect(parseCase(JSON.parse(canonicalJson(good)))).toEqual({ kind: 'case', case: good });
  });

  it('gives a name that changes with every field', () => {
    const names = new Set([caseHash(good)]);
    const changes: [string, unknown][] = [
      ['problem.tokens', [129, 0]],
      ['problem.queryHeads', 2],
      ['scheme.bits', 2],
      ['tensors.q.seed', 0],
      ['tensors.v.scale', 14],
      ['options.splits', 0],
    ];
    for (const [path, value] of changes) names.add(caseHash(changed(path, value) as Case));
    expect(names.size).toBe(changes.length + 1);
  });
});
