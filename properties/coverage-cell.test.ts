// Cells name where a case lies; every generated case lies in cells that the kernel has, and few
// thousand cases reach most of them.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Case } from './case.js';
import {
  allCoverageCells,
  allFeatureCells,
  coverageCells,
  featureCells,
  lengthClass,
  ratioClass,
} from './coverage-cell.js';
import { caseArbitrary, defaultSpace } from './index.js';
import { DISTRIBUTIONS } from './recipe.js';
import { ReferenceKernel } from './reference-kernel.js';

const full = new ReferenceKernel().capabilities;
/** Few enough schemes that some thousand cases reach most of their cells. */
const capabilities = {
  ...full,
  formats: [{ ...full.formats[0], kAxis: ['channel'], bits: [4, 2], headSizes: [128] }],
};
const space = { ...defaultSpace, codeLm: true, nonFinite: true };
/** 26 distributions had 4,000 cases when the shares below were set; more of them get more. */
const numRuns = Math.round((4000 / 26) * (DISTRIBUTIONS.length + 1));
const cases = fc.sample(caseArbitrary(capabilities, space), { numRuns, seed: 1 });
const all = allCoverageCells(capabilities, space);

describe('coverage cells', () => {
  it('put every length and every ratio in one class', () => {
    const lengths = [0, 1, 2, 127, 128, 129, 255, 256, 257, 384, 2048].map(lengthClass);
    expect(lengths).toEqual([
      ...['empty', 'one token', 'window', 'window', 'one record', 'record and window'],
      ...['record and window', 'records', 'records and window', 'records', 'records'],
    ]);
    const ratios = [1, 2, 7, 8, 9, 16, 17, 64].map(ratioClass);
    expect(ratios).toEqual(['1', '2-7', '2-7', '8', '9-16', '9-16', '17 and more', '17 and more']);
  });

  it('name the case', () => {
    const c: Case = {
      ...cases[0],
      problem: { tokens: [130, 1, 130], queryHeads: 6, kvHeads: 2, headSize: 128 },
      options: { softmaxScale: 1, splits: 0 },
      scheme: { format: 'bitdecoding', kAxis: 'channel', bits: 2, group: 64 },
      tensors: {
        q: { distribution: 'zero', seed: 0, scale: 0, offset: 0 },
        k: { distribution: 'grid', seed: 0, scale: 0, offset: 0 },
        v: { distribution: 'code-lm', layer: 0, firstToken: 0 },
      },
    };
    expect(coverageCells(c)).toEqual([
      '2/64/channel/128/ratio 2-7/record and window/k:grid',
      '2/64/channel/128/ratio 2-7/record and window/v:code-lm',
      '2/64/channel/128/ratio 2-7/one token/k:grid',
      '2/64/channel/128/ratio 2-7/one token/v:code-lm',
    ]);
  });

  it('name what a case has beyond its format', () => {
    const pages = { order: 'shuffled', seed: 1, spare: 0, sharedRecords: 2 } as const;
    const c: Case = {
      ...cases[0],
      problem: { ...cases[0].problem, tokens: [1], queryTokens: 8, type: 'bf16' },
      scheme: { format: 'bitdecoding', kAxis: 'token', bits: 8, group: 64 },
      options: { softmaxScale: 1, splits: 0, pages, appended: 130, inputPadding: 8 },
    };
    expect(featureCells(c)).toEqual([
      ...['8/token/bf16', '8/token/query tokens 8', '8/token/pages shuffled'],
      ...['8/token/pages shared', '8/token/appended a record', '8/token/rows apart'],
    ]);
  });

  it('of generated cases are cells of the kernel, with every format too', () => {
    const every = new Set([...allCoverageCells(full, space), ...allFeatureCells(full)]);
    const drawn = fc.sample(caseArbitrary(full, space), { numRuns: 500, seed: 2 });
    const cells = drawn.flatMap((c) => [...coverageCells(c), ...featureCells(c)]);
    expect(cells.length).toBeGreaterThan(drawn.length);
    expect(cells.filter((cell) => !every.has(cell))).toEqual([]);
  });

  it('of generated cases are cells of the kernel', () => {
    const known = new Set(all);
    expect(known.size).toBe(all.length);
    expect(cases.flatMap(coverageCells).filter((cell) => !known.has(cell))).toEqual([]);
  });

  it('are reached by some four thousand cases, most of them if the scheme does not matter', () => {
    const shape = (cell: string) => cell.slice(cell.indexOf('/ratio'));
    const reached = new Set(cases.flatMap(coverageCells));
    expect(reached.size / all.length).toBeGreaterThan(0.4);
    const shapes = new Set(all.map(shape));
    expect(new Set([...reached].map(shape)).size / shapes.size).toBeGreaterThan(0.65);
  });
});
