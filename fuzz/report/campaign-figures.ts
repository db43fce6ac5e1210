// campaign-figures.ts - the figures of a campaign's report as vega-lite specifications.
//
// Times are minutes of running: the hours between two sessions are left out, since nothing ran.

import type { CampaignStatistics } from '../campaign/campaign-statistics.js';
import { binStart } from '../campaign/ratio-histogram.js';
import { COLOURS, type FigureSpec } from './figure.js';

const SIZE = { width: 420, height: 220 } as const;
/** More points than can be told apart on 420 pixels only make the file large. */
const POINTS_MAX = 300;

export interface Figure {
  readonly spec: FigureSpec;
  readonly caption: string;
}

interface MinutePoint {
  readonly minute: number;
  readonly cases: number;
  readonly cells: number;
  readonly findings: number;
}

export function campaignFigures(statistics: CampaignStatistics): Figure[] {
  const points = thinned(cumulative(statistics));
  return [
    {
      spec: line(points, 'findings', 'Findings over time', 'findings', 'step-after'),
      caption:
        'Different failures seen so far. A line that stays flat says that more time adds little.',
    },
    {
      spec: line(points, 'cells', 'Coverage over time', 'coverage cells', 'monotone'),
      caption: 'Cells of the domain that at least one case has reached.',
    },
    {
      spec: line(points, 'cases', 'Cases over time', 'cases', 'monotone'),
      caption: 'A bend is a machine that became slower, or another number of workers.',
    },
    ...ratioFigure(statistics),
  ];
}

/** Only minutes in which something ran count: they are the axis. */
function cumulative(statistics: CampaignStatistics): MinutePoint[] {
  const minutes = [...statistics.minutes].sort(([a], [b]) => a - b);
  const finds = [...statistics.findings.values()]
    .map(({ firstAt }) => Math.floor(firstAt / 60_000))
    .sort((a, b) => a - b);
  const points: MinutePoint[] = [{ minute: 0, cases: 0, cells: 0, findings: 0 }];
  let [cases, cells, findings] = [0, 0, 0];
  for (const [place, [minute, sums]] of minutes.entries()) {
    cases += sums.cases;
    cells += sums.cells;
    while (findings < finds.length && finds[findings] <= minute) findings += 1;
    points.push({ minute: place + 1, cases, cells, findings });
  }
  return points;
}

function thinned(points: readonly MinutePoint[]): MinutePoint[] {
  const step = Math.max(1, Math.ceil(points.length / POINTS_MAX));
  return points.filter((_, i) => i % step === 0 || i === points.length - 1);
}

function line(
  points: readonly MinutePoint[],
  field: 'findings' | 'cells' | 'cases',
  title: string,
  unit: string,
  interpolate: string,
): FigureSpec {
  const values = points.map((point) => ({ minute: point.minute, value: point[field] }));
  const whole = { format: ',d', tickMinStep: 1 };
  return {
    ...{ title, ...SIZE, data: { values } },
    mark: { type: 'line', interpolate, color: COLOURS[0], point: values.length < 3 },
    encoding: {
      x: { field: 'minute', type: 'quantitative', title: 'minutes of running', axis: whole },
      y: { field: 'value', type: 'quantitative', title: unit, axis: whole },
    },
  };
}

/** One curve for each property that measures an error, over all kernels. */
function ratioFigure({ kernels }: CampaignStatistics): Figure[] {
  const byProperty = new Map<string, number[]>();
  for (const { ratios } of kernels.values()) {
    for (const [property, { bins }] of ratios) {
      const sums = byProperty.get(property) ?? bins.map(() => 0);
      byProperty.set(property, sums);
      for (const [bin, times] of bins.entries()) sums[bin] += times;
    }
  }
  const total = (bins: readonly number[]) => bins.reduce((sum, times) => sum + times, 0);
  const shown = [...byProperty]
    .sort(([, a], [, b]) => total(b) - total(a))
    .slice(0, COLOURS.length);
  if (shown.length === 0) return [];
  const values = shown.flatMap(([property, bins]) =>
    bins.map((cases, bin) => ({ property, ratio: binStart(bin), cases })),
  );
  const title = 'Largest error of a case, divided by its bound';
  const spec = {
    ...{ title, ...SIZE, data: { values } },
    layer: [
      {
        mark: { type: 'line', interpolate: 'step-after', strokeWidth: 1.5 },
        encoding: {
          x: {
            ...{ field: 'ratio', type: 'quantitative', title: 'error / bound' },
            scale: { type: 'log', domain: [1e-6, 2], nice: false },
            axis: { values: [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1], format: '.0e', grid: true },
          },
          y: { field: 'cases', type: 'quantitative', title: 'cases', axis: { tickMinStep: 1 } },
          color: {
            ...{ field: 'property', type: 'nominal', title: null },
            scale: { domain: shown.map(([property]) => property), range: COLOURS },
          },
        },
      },
      {
        data: { values: [{ limit: 1 }] },
        mark: { type: 'rule', color: '#b3261e', strokeDash: [4, 3] },
        encoding: { x: { field: 'limit', type: 'quantitative' } },
      },
    ],
  };
  const caption =
    'Passing cases only; the dashed line is the bound itself, beyond which a case fails.';
  return [{ spec, caption }];
}
