// perplexity-figures.ts - the figures of the perplexity study, from its result alone.

import { type Figure, nominal, quantitative, specOf } from './figure.js';
import type { PerplexityRow } from './perplexity.js';

export interface PerplexityResult {
  readonly kernel: string;
  readonly base: { readonly ppl: number };
  readonly protocol: { readonly windows: number; readonly tokens: number };
  readonly rows: readonly PerplexityRow[];
}

/** Linear to 0.01, logarithmic beyond, because 8 bits may come out below the base. */
const SYMLOG = { type: 'symlog', constant: 0.01, nice: false };
const TICKS = [-0.01, 0, 0.01, 0.1, 1, 10, 100, 1000];

export function perplexityFigures(result: PerplexityResult): Figure[] {
  const { rows, protocol, base, kernel } = result;
  const subtitle =
    `code-lm, ${protocol.windows} windows, ${protocol.tokens} scored tokens, kernel ${kernel}; ` +
    `fp16 has ${base.ppl.toFixed(4)}`;
  const flat = rows.map(({ dpplInterval, ...row }) => ({
    ...row,
    low: dpplInterval?.[0] ?? row.dppl,
    high: dpplInterval?.[1] ?? row.dppl,
    axis: row.kAxis === 'channel' ? 'K per channel' : 'K per token',
    of: `group ${row.group}`,
  }));
  const equal = flat.filter(({ kBits, vBits }) => kBits === vBits);
  const figures: Figure[] = [];
  if (equal.length > 0) figures.push(byBits(equal, subtitle));
  if (rows.length > equal.length) figures.push(byPair(flat, subtitle));
  return figures;
}

interface Point {
  readonly kAxis: string;
  readonly bitsPerValue: number;
  readonly low: number;
  readonly high: number;
}

/** The two axes of K have the same bits: their points stand side by side, this far from there. */
const ASIDE = 0.06;

function byBits(points: readonly Point[], subtitle: string): Figure {
  const data = points.map((point) => {
    return { ...point, at: point.bitsPerValue + (point.kAxis === 'channel' ? -ASIDE : ASIDE) };
  });
  const lows = data.map(({ low }) => low);
  const highs = data.map(({ high }) => high);
  const bits = data.map(({ bitsPerValue }) => bitsPerValue);
  const y = {
    ...quantitative('dppl', 'increase of perplexity over fp16', {
      ...SYMLOG,
      domain: [1.3 * Math.min(-0.01, ...lows), 1.3 * Math.max(0.1, ...highs)],
    }),
    axis: { values: TICKS, format: '~r' },
  };
  const x = {
    ...quantitative('at', 'bits per value, with scales and zeros (bits)', {
      domain: [Math.min(...bits) - 0.25, Math.max(...bits) + 0.25],
      nice: false,
    }),
    axis: { tickMinStep: 1, format: 'd' },
  };
  const colour = nominal('axis', 'axis of K');
  return {
    name: 'perplexity-by-bits',
    caption:
      'Perplexity lost against the bits of a cached value, K and V at the same width. Bars are ' +
      '95% intervals over windows. Between -0.01 and 0.01 the axis is linear. K per channel and ' +
      `per token have the same bits and stand ${ASIDE} to the left and to the right of them.`,
    spec: specOf('Perplexity against bits of the cache', subtitle, data, {
      ...{ width: 460, height: 320 },
      layer: [
        {
          mark: { type: 'rule', strokeWidth: 1.5 },
          encoding: { x, y: { ...y, field: 'low' }, y2: { field: 'high' }, color: colour },
        },
        {
          mark: { type: 'point', filled: true, size: 90, opacity: 0.9 },
          encoding: { x, y, color: colour, shape: nominal('of', 'elements of a scale') },
        },
      ],
    }),
  };
}

function byPair(data: readonly object[], subtitle: string): Figure {
  const encoding = {
    x: { ...nominal('vBits', 'width of V (bits)', 'descending'), axis: { labelAngle: 0 } },
    y: nominal('kBits', 'width of K (bits)', 'ascending'),
  };
  return {
    name: 'perplexity-by-pair',
    caption: 'Increase of perplexity for every pair of widths: which of K and V pays for a bit.',
    spec: specOf('Increase of perplexity for widths of K and V', subtitle, data, {
      spacing: 14,
      facet: {
        row: { ...nominal('axis', ''), header: { title: null } },
        column: {
          ...nominal('of', 'elements of a scale', ['group 128', 'group 64', 'group 32']),
          header: { title: null },
        },
      },
      spec: {
        ...{ width: 165, height: 120 },
        encoding,
        layer: [
          {
            mark: 'rect',
            encoding: {
              color: {
                ...quantitative('dppl', 'increase', { ...SYMLOG, scheme: 'blues' }),
                legend: null, // the numbers are in the cells
              },
            },
          },
          {
            mark: { type: 'text', fontSize: 11 },
            encoding: {
              text: { field: 'dppl', type: 'quantitative', format: '.3f' },
              color: {
                condition: { test: 'datum.dppl > 0.2', value: 'white' },
                value: 'black',
              },
            },
          },
        ],
      },
    }),
  };
}
