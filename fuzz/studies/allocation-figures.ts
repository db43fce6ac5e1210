// allocation-figures.ts - the Pareto fronts of the allocation study, from its result alone.

import type { AllocationRow } from './allocation.js';
import { type Figure, logarithmic, nominal, quantitative, specOf } from './figure.js';

export interface AllocationResult {
  readonly rows: readonly AllocationRow[];
}

/** Beyond, every choice is as good as fp16 for a model. */
const BITS_SHOWN = 9;

export function allocationFigures({ rows }: AllocationResult): Figure[] {
  const data = rows
    .filter(({ bitsPerValue }) => bitsPerValue <= BITS_SHOWN)
    .map(({ variant, ...row }) => ({
      ...row,
      kBits: variant.kBits,
      vBits: variant.vBits,
      low: row.interval?.[0] ?? row.relFro,
      high: row.interval?.[1] ?? row.relFro,
    }));
  const x = quantitative('bitsPerValue', 'bits per value, with scales and zeros (bits)');
  const series = nominal('handling', 'outliers', [
    'plain',
    'sinks',
    'hadamard',
    'hadamard + sinks',
  ]);
  const source = 'code-lm, 2,048 tokens, root mean square over layers and heads';
  return [
    {
      name: 'allocation-front',
      caption:
        'The smallest error for a budget of bits, with and without a Hadamard rotation and 16 ' +
        'sink tokens in fp16. Bands are 95% intervals over layers and heads.',
      spec: specOf('Best error for a budget of bits', source, data, {
        ...{ width: 520, height: 360 },
        layer: [
          {
            mark: { type: 'area', opacity: 0.1 },
            encoding: {
              ...{ x, color: series, y: logarithmic('low', 'relative error of the output') },
              y2: { field: 'high' },
            },
          },
          {
            mark: { type: 'line', point: { size: 45 } },
            encoding: {
              ...{ x, y: logarithmic('relFro', 'relative error of the output') },
              ...{ color: series, shape: series, strokeDash: series },
            },
          },
        ],
      }),
    },
    {
      name: 'allocation-widths',
      caption: 'Where the bits go on the front: widths of K and of V against the budget.',
      spec: specOf('Widths of K and V on the front', source, widths(data), {
        spacing: 18,
        facet: { ...series, header: { title: null } },
        columns: 2,
        spec: {
          ...{ width: 280, height: 180 },
          mark: { type: 'line', interpolate: 'step-after', point: { size: 40 } },
          encoding: {
            x,
            y: { ...quantitative('bits', 'width of a code (bits)'), axis: { tickMinStep: 1 } },
            color: nominal('tensor', 'tensor'),
            strokeDash: nominal('tensor', 'tensor'),
            shape: nominal('tensor', 'tensor'),
          },
        },
      }),
    },
  ];
}

function widths(data: readonly { kBits: number; vBits: number }[]): object[] {
  return data.flatMap((row) => [
    { ...row, tensor: 'K', bits: row.kBits },
    { ...row, tensor: 'V', bits: row.vBits },
  ]);
}
