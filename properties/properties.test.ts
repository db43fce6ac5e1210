// Every property passes on the right kernel at every shape, and every wrong kernel is rejected at
// every shape at which it is wrong: the power of the whole catalogue.
import { describe, expect, it } from 'vitest';
import { anyArithmetic } from '../reference/arithmetic.js';
import { CASE_SCHEMA, type Case } from './case.js';
import { properties } from './index.js';
import { judgementOf } from './judgement.js';
import type { Kernel } from './kernel.js';
import { materialize, noSource } from './materialize.js';
import type { Property, Verdict } from './property.js';
import { RecalledKernel } from './recalled-kernel.js';
import type { DrawnRecipe } from './recipe.js';
import { ReferenceKernel } from './reference-kernel.js';
import { ChangedKernel, SPOILINGS, SpoiledKernel } from './spoiled-kernel.js';

const SCALE = Math.fround(1 / Math.sqrt(128));

const recipe = (distribution: DrawnRecipe['distribution'], scale = 0, offset = 0) => ({
  ...{ distribution, scale, offset },
  seed: 3,
});

interface Shape {
  tokens: number[];
  queryHeads: number;
  kvHeads: number;
  headSize?: number;
  type?: 'bf16';
  queryTokens?: number;
}

function caseOf(
  shape: Shape,
  bits: 8 | 4 | 2,
  group: 128 | 64 | 32,
  change: Partial<Case> = {},
): Case {
  return {
    schema: CASE_SCHEMA,
    problem: { headSize: 128, ...shape },
    scheme: { format: 'bitdecoding', kAxis: 'channel', bits, group },
    tensors: { q: recipe('normal'), k: recipe('patchwork', -1), v: recipe('patchwork') },
    options: { softmaxScale: SCALE, splits: 0 },
    ...change,
  };
}

const many = { queryHeads: 4, kvHeads: 2, queryTokens: 5 };
const plainOptions = { softmaxScale: SCALE, splits: 0 };
const zeros = { q: recipe('zero'), k: recipe('zero'), v: recipe('zero') };
const options = (softmaxScale: number) => ({ options: { softmaxScale, splits: 0 } });

/** Edges of tiles and records, empty requests, one and many heads, all bits and groups. */
const CASES: Record<string, Case> = {
  'one token, one head': caseOf({ tokens: [1], queryHeads: 1, kvHeads: 1 }, 4, 128),
  'two tokens, two heads': caseOf({ tokens: [2], queryHeads: 2, kvHeads: 1 }, 4, 128),
  'no token at all': caseOf({ tokens: [0], queryHeads: 2, kvHeads: 1 }, 4, 32),
  'just below a record': caseOf({ tokens: [127], queryHeads: 5, kvHeads: 1 }, 2, 64),
  'one record': caseOf({ tokens: [128], queryHeads: 3, kvHeads: 3 }, 4, 64),
  'a record and a token': caseOf({ tokens: [129, 1], queryHeads: 6, kvHeads: 2 }, 2, 32),
  'mixed lengths': caseOf({ tokens: [0, 300, 17, 256], queryHeads: 12, kvHeads: 2 }, 4, 32),
  'many query heads': caseOf({ tokens: [140], queryHeads: 64, kvHeads: 1 }, 2, 128),
  'a long request': caseOf({ tokens: [2049], queryHeads: 2, kvHeads: 2 }, 4, 128),
  'nothing but zeros': caseOf({ tokens: [130, 3], queryHeads: 4, kvHeads: 2 }, 4, 32, {
    tensors: zeros,
  }),
  'huge scores': caseOf({ tokens: [150], queryHeads: 2, kvHeads: 2 }, 4, 128, options(64)),
  'flat scores': caseOf({ tokens: [150], queryHeads: 2, kvHeads: 2 }, 2, 32, options(2 ** -10)),
  'query tokens across a record': caseOf({ ...many, tokens: [130, 2, 0, 300] }, 4, 32),
  'query tokens over shared pages': caseOf({ ...many, tokens: [270, 400] }, 4, 64, {
    options: { ...plainOptions, pages: { order: 'shuffled', seed: 1, spare: 2, sharedRecords: 2 } },
  }),
  'bf16, 8 bits, K per token, heads of 64': caseOf(
    { tokens: [200, 5], queryHeads: 6, kvHeads: 2, headSize: 64, type: 'bf16' },
    8,
    64,
    { scheme: { format: 'bitdecoding', kAxis: 'token', bits: 8, group: 64 } },
  ),
  'the whole head as a group, heads of 256': caseOf(
    { tokens: [260], queryHeads: 4, kvHeads: 2, headSize: 256 },
    4,
    128,
    { scheme: { format: 'bitdecoding', kAxis: 'token', bits: 4, group: 256 } },
  ),
  'the baseline in bf16': caseOf(
    { tokens: [300, 1], queryHeads: 4, kvHeads: 2, headSize: 128, type: 'bf16', queryTokens: 2 },
    4,
    128,
    { scheme: { format: 'fp16', kAxis: 'channel', bits: 16, group: 128 } },
  ),
  'the baseline, appended, rows apart': caseOf(
    { tokens: [130], queryHeads: 3, kvHeads: 1, headSize: 64 },
    4,
    128,
    {
      scheme: { format: 'fp16', kAxis: 'channel', bits: 16, group: 128 },
      options: { ...plainOptions, appended: 5, inputPadding: 16 },
    },
  ),
  'a negative scale': caseOf({ tokens: [150], queryHeads: 2, kvHeads: 2 }, 2, 32, options(-1)),
};

/** Judged at every shape, here too; what the relations see is in relations.test.ts. */
const UNCONDITIONAL = [
  ...['exact-codes', 'redzone', 'determinism', 'error-bound', 'zero-query', 'constant-v'],
  ...['needle', 'refusal', 'padding-content', 'history', 'split-count'],
];

/** Enough to reject what is wrong on every case. */
const absolute = properties.filter(({ name }) => UNCONDITIONAL.slice(0, 7).includes(name));

function judge(kernel: Kernel, c: Case, chosen: readonly Property[]): Verdict[] {
  const made = materialize(c, noSource);
  if (made.kind === 'error') throw new Error(made.message);
  const judgement = judgementOf(kernel, c, made.inputs, noSource);
  return chosen.map((property) => property.judge(judgement));
}

const names = Object.keys(CASES);

describe('the right kernel', () => {
  it.each(names)('passes everything: %s', (name) => {
    const verdicts = judge(new ReferenceKernel(), CASES[name], properties);
    for (const [i, verdict] of verdicts.entries()) {
      const { name: property } = properties[i];
      const applies = UNCONDITIONAL.includes(property);
      if (applies) expect({ property, ...verdict }).toMatchObject({ kind: 'pass' });
      else expect({ property, ...verdict }).not.toMatchObject({ kind: 'fail' });
      if (verdict.kind === 'pass') expect(verdict.ratio).toBeLessThanOrEqual(1);
    }
  });

  it.each(names)('passes with nothing declared about its arithmetic: %s', (name) => {
    // What is declared changes what is judged and no bit of a run.
    const right = new RecalledKernel(new ReferenceKernel());
    for (const arithmetic of [null, { ...anyArithmetic, operands: 'dequantized' as const }]) {
      const kernel = new ChangedKernel(right, 'ref:', (_c, _inputs, ran) => ran, { arithmetic });
      for (const verdict of judge(kernel, CASES[name], properties)) {
        expect(verdict).not.toMatchObject({ kind: 'fail' });
      }
    }
  });
});

/** What the spoilings spoil: the same runs for all of them. */
const unspoiled = new RecalledKernel(new ReferenceKernel());

describe.each(Object.keys(SPOILINGS))('a kernel where %s', (spoiling) => {
  const { harmless } = SPOILINGS[spoiling];

  it.each(names.filter((name) => !harmless(CASES[name])))('is rejected: %s', (name) => {
    const kernel = new SpoiledKernel(unspoiled, spoiling);
    const failed = judge(kernel, CASES[name], absolute).filter(({ kind }) => kind === 'fail');
    expect(failed.length).toBeGreaterThan(0);
    for (const verdict of failed) {
      if (verdict.kind !== 'fail') continue;
      expect(verdict.signature).toMatch(/^[a-z-]+\/[a-z-]+$/);
      expect(verdict.message).not.toContain('\n');
    }
  });

  it.each(names.filter((name) => harmless(CASES[name])))('is right after all: %s', (name) => {
    const kernel = new SpoiledKernel(unspoiled, spoiling);
    const kinds = judge(kernel, CASES[name], absolute).map(({ kind }) => kind);
    expect(kinds).not.toContain('fail');
  });
});

describe('needle alone', () => {
  const needle = properties.filter(({ name }) => name === 'needle');

  it.each(['zero-output', 'swapped-heads', 'dropped-last-token', 'neighbour-parameters'])(
    'rejects %s wherever it is wrong, even if the case itself is all zeros',
    (spoiling) => {
      for (const name of names) {
        if (SPOILINGS[spoiling].harmless(CASES[name])) continue;
        const kernel = new SpoiledKernel(unspoiled, spoiling);
        expect([name, judge(kernel, CASES[name], needle)[0].kind]).toEqual([name, 'fail']);
      }
    },
  );
});
