// accuracy-figures.ts - the figures of the accuracy study, one or two for a section, from its
// table.

import type { AccuracyRow } from './accuracy.js';
import { COLOURS, type Figure, logarithmic, nominal, quantitative, specOf } from './figure.js';

export interface AccuracyResult {
  readonly kernel: string;
  readonly rows: readonly AccuracyRow[];
}

type FlatRow = ReturnType<typeof flatRow>;

const SHAPES = [
  ...['circle', 'square', 'cross', 'diamond'],
  ...['triangle-up', 'triangle-down', 'triangle-right', 'triangle-left'],
];
const ERROR = 'relative error of the output';
const BAND = 'bands: middle 80% of the repeats';
const SQNR = 'SQNR of the output (dB)';

function flatRow(row: AccuracyRow) {
  const band = (x: AccuracyRow['relFro']) =>
    x === null || x.median === 0 ? null : { ...x, low: Math.max(x.low, x.median / 1000) };
  return {
    ...row,
    error: band(row.relFro)?.median,
    errorLow: band(row.relFro)?.low,
    errorHigh: row.relFro?.high,
    sqnr: row.sqnrDb?.median,
    sqnrLow: row.sqnrDb?.low,
    sqnrHigh: row.sqnrDb?.high,
    divergence: band(row.kl)?.median,
    divergenceLow: band(row.kl)?.low,
    divergenceHigh: row.kl?.high,
    axis: row.kAxis === 'channel' ? 'K per channel' : 'K per token',
    of: `group ${row.group}`,
    width: `${row.kBits} bits`,
    what: PARTS[row.part],
  };
}

const PARTS = {
  k: 'K alone',
  v: 'V alone',
  both: 'K and V',
  kernel: "kernel's arithmetic",
  total: 'kernel in all',
} as const;

export function accuracyFigures({ rows, kernel }: AccuracyResult): Figure[] {
  const of = (section: string) =>
    rows.filter((row) => row.section === section && row.bitsPerValue < 16).map(flatRow);
  const makers: [string, (data: FlatRow[]) => Figure[]][] = [
    ['bits', bitFigures],
    ['distributions', (data) => [distributionFigure(data)]],
    ['rules', (data) => [ruleFigure(data)]],
    ['kept', (data) => [keptFigure(data)]],
    ['lengths', (data) => [lengthFigure(data)]],
    ['formats', (data) => [formatFigure(data, of('bits'))]],
    ['kernel', (data) => [kernelFigure(data, kernel)]],
  ];
  return makers.flatMap(([section, make]) => {
    const data = of(section).filter(({ error }) => error !== undefined);
    return data.length === 0 ? [] : make(data);
  });
}

const sourcesOf = (data: readonly FlatRow[]) =>
  [...new Set(data.map(({ source }) => source))].join(', ');

/** Lines with a band of the middle 80%, one panel for each value of `facet`. */
function lines(
  x: object,
  y: { field: string },
  [low, high]: readonly [string, string],
  series: object,
  facet: object,
): object {
  return {
    spacing: 18,
    facet: { ...facet, header: { title: null } },
    columns: 2,
    spec: {
      ...{ width: 300, height: 260 },
      layer: [
        {
          mark: { type: 'area', opacity: 0.15 },
          encoding: { x, y: { ...y, field: low }, y2: { field: high }, color: series },
        },
        {
          mark: { type: 'line', point: { size: 45 } },
          encoding: { x, y, color: series, strokeDash: series, shape: series },
        },
      ],
    },
  };
}

/** A point for each error, on the rule of its band. */
function errorsWithBands(x: object, y: object, colour: object, size: number): object[] {
  return [
    {
      mark: { type: 'rule', strokeWidth: 1.5 },
      encoding: { x: { ...x, field: 'errorLow' }, x2: { field: 'errorHigh' }, y, color: colour },
    },
    {
      mark: { type: 'point', filled: true, size },
      encoding: { x, y, color: colour, shape: colour },
    },
  ];
}

const GROUPS = ['group 16', 'group 32', 'group 64', 'group 128'];

function bitFigures(data: FlatRow[]): Figure[] {
  const x = { ...quantitative('kBits', 'width of K and V (bits)'), axis: { tickMinStep: 1 } };
  const facet = nominal('axis', 'axis of K');
  const both = data.filter(({ part }) => part === 'both');
  const parts = data.filter(({ group }) => group === 32);
  const weights = data.filter(
    ({ part, divergence }) => part === 'both' && divergence !== undefined,
  );
  const subtitle = `${sourcesOf(data)}; ${BAND}`;
  return [
    {
      name: 'sqnr-by-bits',
      caption: 'Signal to noise of the attention output: about 6 dB a bit once codes are fine.',
      spec: specOf('Attention output against bits', subtitle, both, {
        ...lines(
          x,
          quantitative('sqnr', SQNR),
          ['sqnrLow', 'sqnrHigh'],
          nominal('of', 'elements of a scale', GROUPS),
          facet,
        ),
      }),
    },
    {
      name: 'error-by-part',
      caption: 'Which of K and V the error comes from, at groups of 32.',
      spec: specOf('Error from K, from V, and from both', `group 32, ${subtitle}`, parts, {
        ...lines(
          x,
          logarithmic('error', ERROR),
          ['errorLow', 'errorHigh'],
          nominal('what', 'quantised', ['K alone', 'V alone', 'K and V']),
          facet,
        ),
      }),
    },
    {
      name: 'weights-by-bits',
      caption: 'Divergence of the attention weights, which only K decides.',
      spec: specOf('Attention weights against bits', subtitle, weights, {
        ...lines(
          x,
          logarithmic('divergence', 'KL divergence of the weights (nats)'),
          ['divergenceLow', 'divergenceHigh'],
          nominal('of', 'elements of a scale', GROUPS),
          facet,
        ),
      }),
    },
  ];
}

function distributionFigure(data: FlatRow[]): Figure {
  const shown = data.filter(({ part, kBits }) => part === 'both' && (kBits === 2 || kBits === 4));
  const x = logarithmic('error', ERROR);
  const y = nominal('source', 'distribution', { field: 'error', op: 'mean', order: 'ascending' });
  const colour = nominal('axis', 'axis of K');
  return {
    name: 'error-by-distribution',
    caption:
      'Named distributions, K and V alike, groups of 32. Without a point: an error of 0, or ' +
      'values whose attention is not finite.',
    spec: specOf('Error by distribution', `1,024 tokens; ${BAND}`, shown, {
      spacing: 18,
      facet: { column: { ...nominal('width', ''), header: { title: null } } },
      spec: {
        ...{ width: 300, height: { step: 18 } },
        layer: errorsWithBands(x, y, colour, 60),
      },
    }),
  };
}

function ruleFigure(data: FlatRow[]): Figure {
  const shown = data
    .filter(({ part }) => part === 'both')
    .map((row) => ({ ...row, kind: row.symmetric ? 'symmetric' : 'asymmetric' }));
  const x = logarithmic('error', ERROR);
  const y = nominal('rounding', 'rounding rule', ['half-away', 'half-even', 'stochastic', 'down']);
  const colour = nominal('kind', 'codes');
  return {
    name: 'error-by-rule',
    caption:
      'Rounding rule and zero point, K per channel, groups of 32. Ties are rare in real values: ' +
      'both nearest rules agree.',
    spec: specOf('Error by rounding rule and zero point', `${sourcesOf(data)}; ${BAND}`, shown, {
      spacing: 18,
      facet: nominal('width', ''),
      columns: 2,
      spec: {
        ...{ width: 300, height: { step: 30 } },
        layer: errorsWithBands(x, y, colour, 70),
      },
    }),
  };
}

function keptFigure(data: FlatRow[]): Figure {
  const shown = data
    .filter(({ part }) => part === 'both')
    .map((row) => ({ ...row, kept: String(row.residual) }));
  const lengths = [...new Set(shown.map(({ tokens }) => tokens.toLocaleString('en')))].join(', ');
  const x = { ...nominal('sinks', 'first tokens kept in fp16'), axis: { labelAngle: 0 } };
  const series = nominal('kept', 'last tokens kept');
  const colour = { ...series, sort: ['0', '32', '128', '256'] };
  return {
    name: 'error-by-kept-tokens',
    caption: `What it brings to keep the first or the last tokens in fp16, of ${lengths} tokens.`,
    spec: specOf('Error with tokens kept in fp16', sourcesOf(data), shown, {
      spacing: 18,
      facet: { ...nominal('width', ''), header: { title: null } },
      columns: 2,
      spec: {
        ...{ width: 280, height: 260 },
        mark: { type: 'line', point: { size: 50 } },
        encoding: {
          x,
          y: logarithmic('error', ERROR),
          ...{ color: colour, shape: colour, strokeDash: colour },
        },
      },
    }),
  };
}

function lengthFigure(data: FlatRow[]): Figure {
  const shown = data.filter(({ part }) => part === 'both');
  const x = {
    ...quantitative('tokens', 'cached tokens', { type: 'log', base: 2 }),
    axis: { values: [128, 512, 2048, 8192, 32768, 131072], format: ',' },
  };
  const series = nominal('source', 'distribution');
  return {
    name: 'error-by-length',
    caption: 'Relative error against the length of the context, groups of 32.',
    spec: specOf('Error by length', 'medians over seeds', shown, {
      ...{ spacing: 18, resolve: { scale: { y: 'shared' } } },
      facet: {
        row: { ...nominal('axis', ''), header: { title: null } },
        column: { ...nominal('width', ''), header: { title: null } },
      },
      spec: {
        ...{ width: 220, height: 200 },
        mark: { type: 'line', point: { size: 40 } },
        encoding: {
          x: { ...x, axis: { ...x.axis, labelAngle: -40 } },
          y: logarithmic('error', ERROR),
          ...{ color: series, shape: series, strokeDash: series },
        },
      },
    }),
  };
}

function formatFigure(data: FlatRow[], plain: FlatRow[]): Figure {
  const label = (row: FlatRow) => (row.group === 0 ? row.format : `${row.format} g${row.group}`);
  const shown = data.filter(({ part }) => part === 'both').map((r) => ({ ...r, label: label(r) }));
  const ours = plain
    .filter(({ part, group, kAxis }) => part === 'both' && group === 32 && kAxis === 'channel')
    .map((row) => ({ ...row, label: '' }));
  const x = quantitative('bitsPerValue', 'bits per value, with scales and zeros (bits)');
  const y = logarithmic('error', ERROR);
  return {
    name: 'error-by-format',
    caption:
      'Formats of other systems on the same cache. The line is the plain quantiser, K per ' +
      'channel, groups of 32, at every width.',
    spec: specOf('Error by format', sourcesOf(data), [...shown, ...ours], {
      ...{ width: 560, height: 420 },
      layer: [
        {
          transform: [{ filter: "datum.format === 'plain'" }],
          mark: { type: 'line', color: '#999', strokeDash: [4, 3], point: { color: '#999' } },
          encoding: { x, y },
        },
        {
          transform: [{ filter: "datum.format !== 'plain'" }],
          mark: { type: 'point', filled: true, size: 80 },
          encoding: {
            ...{ x, y },
            // 7 colours and 8 shapes go round: 56 formats are told apart.
            color: { ...nominal('format', 'format'), scale: { range: COLOURS } },
            shape: { ...nominal('format', 'format'), scale: { range: SHAPES } },
          },
        },
      ],
    }),
  };
}

function kernelFigure(data: FlatRow[], kernel: string): Figure {
  const x = logarithmic('error', ERROR);
  const shown = data.map((row) => ({ ...row, scheme: `${row.axis}, ${row.of}` }));
  const series = nominal('what', 'error of', ['K and V', 'kernel in all', "kernel's arithmetic"]);
  return {
    name: 'error-of-the-kernel',
    caption:
      "The kernel's own arithmetic, against float64 over its own cache, beside what the cache " +
      'loses.',
    spec: specOf('Error of the cache and of the kernel', `kernel ${kernel}; ${BAND}`, shown, {
      spacing: 18,
      facet: { ...nominal('width', ''), header: { title: null } },
      columns: 2,
      spec: {
        ...{ width: 280, height: { step: 26 } },
        layer: errorsWithBands(x, nominal('scheme', 'scheme'), series, 70),
      },
    }),
  };
}
