// Tests of the accuracy and allocation studies: metrics against their definitions, variants, the
// user's files and their mistakes, tables and figures of a small run.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ReferenceKernel } from '../../properties/reference-kernel.js';
import { formats } from '../../reference/formats/index.js';
import { accuracyData, accuracyRows, accuracyTasks } from './accuracy.js';
import { accuracyFigures } from './accuracy-figures.js';
import { SECTIONS, sectionsOf } from './accuracy-sections.js';
import { readUserFiles, sampleOf } from './accuracy-source.js';
import { AccuracyRunner, type AccuracyTask } from './accuracy-task.js';
import { bestWithin, paretoFront } from './allocation.js';
import { type HeadSample, outputError, TrueAttention } from './attention-error.js';
import { PLAIN, throughVariant } from './cache-variant.js';
import { svgOf } from './figure.js';
import { rotateRows } from './hadamard.js';
import { statistics } from './statistics.js';
import { csvText } from './table-file.js';

function sampleFrom(distribution: 'normal' | 'outlier-channels', tokens = 256): HeadSample {
  const made = sampleOf({ kind: 'drawn', distribution, seed: 1, tokens });
  if (made.kind === 'error') throw new Error(made.message);
  return made.sample;
}

describe('the metrics', () => {
  it('are those of their definitions on two tokens', () => {
    const sample: HeadSample = {
      ...{ tokens: 2, headSize: 2, queries: 1, softmaxScale: 1 },
      q: Float32Array.of(1, 0),
      k: Float32Array.of(Math.log(3), 0, 0, 0), // weights 3/4 and 1/4
      v: Float32Array.of(4, 0, 0, 4), // output (3, 1)
    };
    const truth = new TrueAttention(sample);
    expect(truth.output[0]).toBeCloseTo(3, 6);
    const even = Float32Array.of(0, 0, 0, 0); // weights 1/2, output (2, 2)
    const [k, v] = truth.compare(even, sample.v);
    expect(k.error.relFro).toBeCloseTo(Math.sqrt(2 / 10), 6);
    expect(k.error.sqnrDb).toBeCloseTo(10 * Math.log10(5), 5);
    expect(k.error.maxError).toBeCloseTo(1, 6);
    expect(k.error.cosine).toBeCloseTo(8 / Math.sqrt(80), 6);
    expect(k.error.tv).toBeCloseTo(0.25, 6);
    expect(k.error.kl).toBeCloseTo(0.75 * Math.log(1.5) + 0.25 * Math.log(0.5), 6);
    expect(k.error.top1).toBe(1);
    expect(v.error).toMatchObject({ relFro: 0, maxError: 0, sqnrDb: null, kl: null });
  });

  it('see the zero output, swapped queries and NaN', () => {
    const right = Float64Array.of(1, 2, 3, 4);
    expect(outputError(new Float64Array(4), right, 2).relFro).toBe(1);
    expect(outputError(Float64Array.of(3, 4, 1, 2), right, 2).relFro).toBeGreaterThan(0.5);
    expect(outputError(Float64Array.of(Number.NaN, 2, 3, 4), right, 2).relFro).toBeNull();
  });
});

describe('variants', () => {
  const sample = sampleFrom('outlier-channels');
  const truth = new TrueAttention(sample);
  const errorOf = (change: object, part = 2) => {
    const changed = throughVariant({ ...PLAIN, ...change }, sample);
    if (changed.kind === 'unsupported') throw new Error(changed.reason);
    return truth.compare(changed.k, changed.v)[part].error.relFro ?? Number.NaN;
  };

  it('16 bits are exact, and everything kept in fp16 too', () => {
    expect(errorOf({ kBits: 16, vBits: 16 })).toBe(0);
    expect(errorOf({ kBits: 2, vBits: 2, residual: 256 })).toBe(0);
    expect(errorOf({ kBits: 2, vBits: 2, sinks: 300 })).toBe(0);
  });

  it('gain about 6 dB a bit', () => {
    const [four, five, six] = [4, 5, 6].map((bits) => errorOf({ kBits: bits, vBits: bits }));
    for (const ratio of [four / five, five / six]) {
      expect(ratio).toBeGreaterThan(1.6);
      expect(ratio).toBeLessThan(2.6);
    }
  });

  it('K per channel beats K per token on outlier channels; a rotation helps the latter', () => {
    const token = errorOf({ kAxis: 'token', group: 128 }, 0);
    expect(errorOf({ kAxis: 'channel' }, 0)).toBeLessThan(token / 2);
    expect(errorOf({ kAxis: 'token', group: 128, rotation: 'hadamard' }, 0)).toBeLessThan(token);
  });

  it('count their bits, kept tokens among them', () => {
    const bits = (change: object) => {
      const changed = throughVariant({ ...PLAIN, ...change }, sample);
      return changed.kind === 'cache' ? changed.bitsPerValue : Number.NaN;
    };
    expect(bits({})).toBe(5);
    expect(bits({ vBits: 2, vGroup: 128 })).toBe((5 + 2.25) / 2);
    expect(bits({ sinks: 64 })).toBe(0.75 * 5 + 0.25 * 16);
    expect(bits({ format: 'llama-q4_0', group: 32 })).toBe(4.5);
  });

  it('every public format runs at every width and group that it has', () => {
    const [section] = sectionsOf(['formats'], { quick: true, seeds: 1, own: null });
    const failed = section.variants.flatMap((variant) => {
      const changed = throughVariant(variant, sample);
      return changed.kind === 'unsupported' ? [changed.reason] : [];
    });
    expect(failed).toEqual([]);
    expect(new Set(section.variants.map(({ format }) => format)).size).toBe(formats.length);
  });
});

it('the Hadamard rotation is its own inverse and keeps products', () => {
  const x = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i * 3.1));
  const rotated = x.slice();
  rotateRows(rotated, 32);
  const dot = (a: Float32Array) => a.subarray(0, 32).reduce((s, v, i) => s + v * a[32 + i], 0);
  expect(dot(rotated)).toBeCloseTo(dot(x), 5);
  rotateRows(rotated, 32);
  for (const [i, value] of rotated.entries()) expect(value).toBeCloseTo(x[i], 5);
});

describe('a run', () => {
  const runner = new AccuracyRunner(new ReferenceKernel());
  const source = { kind: 'code-lm', layer: 2, head: 1, tokens: 256 } as const;

  it("splits a kernel's error from that of its cache", () => {
    const { measured, unsupported } = runner.run({
      ...{ study: 'accuracy', source, on: 'kernel' },
      variants: [PLAIN, { ...PLAIN, kBits: 3, vBits: 3 }],
    });
    const parts = Object.fromEntries(measured[0].parts.map(({ part, error }) => [part, error]));
    expect(parts.kernel.relFro).toBeLessThan(1e-3);
    expect(parts.kernel.relFro).toBeGreaterThan(0);
    expect(parts.both.relFro).toBeGreaterThan(1e-2);
    expect(unsupported).toHaveLength(1);
    const plain = runner.run({ study: 'accuracy', source, variants: [PLAIN], on: 'format' });
    const both = plain.measured[0].parts[2].error.relFro ?? Number.NaN;
    expect(Math.abs((parts.both.relFro ?? 0) / both - 1)).toBeLessThan(1e-5);
  });

  it('becomes rows with bands, and figures that can be drawn', async () => {
    const extent = { quick: true, seeds: 2, own: null };
    const chosen: string[] = ['patchwork', 'non-finite', 'non-finite-groups'];
    const sections = sectionsOf(['distributions'], extent).map((section) => ({
      ...section,
      sources: section.sources
        .filter((each) => each.kind === 'drawn' && chosen.includes(each.distribution))
        .map((each) => ({ ...each, tokens: 128 })),
    }));
    const tasks = accuracyTasks(sections);
    const values = new Map(tasks.map(({ key, task }) => [key, runner.run(task as AccuracyTask)]));
    const data = accuracyData(tasks, values);
    expect(data).toHaveLength(6 * 8 * 3);
    const rows = accuracyRows(data, await statistics(1));
    expect(rows).toHaveLength(3 * 8 * 3);
    const finite = rows.find(({ source: name }) => name === 'patchwork');
    expect(finite?.repeats).toBe(2);
    expect(finite?.relFro?.low).toBeLessThanOrEqual(finite?.relFro?.median ?? 0);
    expect(rows.find(({ source: name }) => name === 'non-finite')?.relFro).toBeNull();
    const figures = accuracyFigures({ kernel: 'ref:', rows });
    expect(figures.map(({ name }) => name)).toEqual(['error-by-distribution']);
    const svg = await svgOf(figures[0]);
    for (const text of ['relative error of the output', 'patchwork', 'axis of K']) {
      expect(svg).toContain(text);
    }
  });

  it('has sections of different tasks only', () => {
    const tasks = accuracyTasks(sectionsOf(SECTIONS, { quick: false, seeds: 5, own: null }));
    expect(new Set(tasks.map(({ key }) => key)).size).toBe(tasks.length);
  });
});

describe('files of the user', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kvproof-tensors-'));
  const path = (name: string) => join(folder, name);
  afterAll(() => rmSync(folder, { recursive: true }));

  function npy(name: string, shape: number[], descr = '<f4', order = 'False'): string {
    const elements = shape.reduce((a, b) => a * b, 1);
    const extents = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
    const text = `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': (${extents}), }`;
    const header = Buffer.from(text.padEnd(117, ' ').concat('\n'), 'latin1');
    const start = Buffer.from([0x93, ...Buffer.from('NUMPY'), 1, 0, header.length, 0]);
    const data = Float32Array.from({ length: elements }, (_, i) => Math.sin(i));
    writeFileSync(path(name), Buffer.concat([start, header, Buffer.from(data.buffer)]));
    return path(name);
  }

  beforeAll(() => {
    npy('k.npy', [2, 40, 8]);
    npy('q.npy', [4, 3, 8]);
    npy('short.npy', [2, 39, 8]);
    npy('wide.npy', [4, 3, 16]);
    npy('odd.npy', [3, 3, 8]);
    npy('flat.npy', [640]);
    npy('int.npy', [2, 40, 8], '<i4');
    npy('fortran.npy', [2, 40, 8], '<f4', 'True');
    writeFileSync(path('k.bin'), 'x');
    writeFileSync(path('not.npy'), 'this is no array');
  });

  const message = (k: string, v: string, q: string): string => {
    const files = { k: path(k), v: path(v), q: path(q), softmaxScale: null };
    const read = readUserFiles(files);
    return read.kind === 'error' ? read.message : 'read';
  };

  it('are read, one KV head a sample with the queries of its heads', () => {
    const files = { k: path('k.npy'), v: path('k.npy'), q: path('q.npy'), softmaxScale: null };
    const made = sampleOf({ kind: 'files', files, head: 1 });
    if (made.kind === 'error') throw new Error(made.message);
    const { tokens, queries, headSize, k, q } = made.sample;
    expect([tokens, queries, headSize]).toEqual([40, 6, 8]);
    expect(k[0]).toBeCloseTo(Math.sin(320), 3);
    expect(q[0]).toBeCloseTo(Math.sin(48), 3);
  });

  it.each([
    ['k.npy', 'short.npy', 'q.npy', '--v: found shape (2, 39, 8), required that of --k'],
    ['k.npy', 'k.npy', 'wide.npy', '--q: found head size 16, required 8 as of --k'],
    ['k.npy', 'k.npy', 'odd.npy', '--q: found shape (3, 3, 8), required a multiple of the 2 heads'],
    ['flat.npy', 'k.npy', 'q.npy', '--k: found shape (640), required (heads, tokens, head size)'],
    ['int.npy', 'k.npy', 'q.npy', 'int.npy: has dtype <i4, <f2, <f4 or <f8 is required'],
    ['fortran.npy', 'k.npy', 'q.npy', 'fortran.npy: is in Fortran order, C order is required'],
    ['k.bin', 'k.npy', 'q.npy', 'k.bin: has another ending, .safetensors or .npy is required'],
    ['not.npy', 'k.npy', 'q.npy', 'not.npy: does not begin as one, a .npy file is required'],
    ['absent.npy', 'k.npy', 'q.npy', 'absent.npy: cannot be read (ENOENT'],
  ])('%s, %s, %s are refused in one sentence', (k, v, q, sentence) => {
    expect(message(k, v, q)).toContain(sentence);
    expect(message(k, v, q)).not.toContain('\n');
  });
});

describe('allocation', () => {
  it('the front holds what nothing else beats', () => {
    const points = [
      [4, 0.1],
      [3, 0.2],
      [5, 0.1],
      [3, 0.3],
      [6, 0.05],
    ].map(([bitsPerValue, predicted]) => ({ bitsPerValue, predicted }));
    expect(paretoFront(points).map(({ bitsPerValue }) => bitsPerValue)).toEqual([3, 4, 6]);
  });

  it('takes the best row within a budget, for each handling', () => {
    const row = (handling: string, bitsPerValue: number, relFro: number) => {
      return { handling, bitsPerValue, relFro, predicted: relFro, interval: null, variant: PLAIN };
    };
    const rows = [row('plain', 3, 0.3), row('plain', 4, 0.1), row('sinks', 4.5, 0.05)];
    expect(bestWithin(rows, 4).map(({ relFro }) => relFro)).toEqual([0.1]);
    expect(bestWithin(rows, 5).map(({ relFro }) => relFro)).toEqual([0.1, 0.05]);
  });
});

it('tables are RFC 4180', () => {
  const text = csvText([{ a: 'x, "y"', b: null, c: 1.5 }]);
  expect(text).toBe('a,b,c\n"x, ""y""",,1.5\n');
});
