// figure.ts - what the figures of all studies share: a vega-lite specification with its data
// inside, so that a figure can be drawn again from one file, and the SVG made from it without a
// browser.
//
// Colours are those of Okabe and Ito (2008), told apart with every common colour blindness; lines
// differ by shape or dash too. Every axis has a title with its unit.

export interface Figure {
  /** File name without ending. */
  readonly name: string;
  /** One sentence: what to see. */
  readonly caption: string;
  readonly spec: VegaLiteSpec;
}

/** A specification as JSON; vega-lite checks it when it draws. */
export type VegaLiteSpec = Readonly<Record<string, unknown>>;

export const COLOURS = [
  '#0072B2',
  '#D55E00',
  '#009E73',
  '#CC79A7',
  '#E69F00',
  '#56B4E9',
  '#000000',
] as const;

const CONFIG = {
  background: 'white',
  font: 'Helvetica, Arial, sans-serif',
  range: { category: COLOURS },
  axis: { labelFontSize: 11, titleFontSize: 12, gridColor: '#e5e5e5', labelLimit: 220 },
  legend: {
    ...{ labelFontSize: 11, titleFontSize: 12, labelLimit: 260, titleLimit: 260 },
    ...{ symbolSize: 80, symbolOpacity: 1 },
  },
  header: { labelFontSize: 12, titleFontSize: 12 },
  title: { fontSize: 14, anchor: 'start', subtitleFontSize: 11, subtitleColor: '#555' },
  view: { stroke: '#bbb' },
};

/** A whole specification: title, data, and what is drawn. */
export function specOf(
  title: string,
  subtitle: string,
  data: readonly object[],
  drawing: VegaLiteSpec,
): VegaLiteSpec {
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title: { text: title, subtitle },
    padding: 12,
    config: CONFIG,
    data: { values: data },
    ...drawing,
  };
}

export const quantitative = (field: string, title: string, scale: object = { zero: false }) => ({
  ...{ field, type: 'quantitative', title },
  scale: { nice: true, ...scale },
});

/** Decades only, as 10^n: decimals of a logarithmic axis would overlap. */
export const logarithmic = (field: string, title: string) => ({
  ...quantitative(field, title, { type: 'log' }),
  axis: { tickCount: 6, format: '.0e', labelOverlap: true },
});

export const nominal = (field: string, title: string, sort: unknown = null) => ({
  ...{ field, type: 'nominal', title, sort },
});

/** The SVG of a figure. */
export async function svgOf({ spec }: Figure): Promise<string> {
  const [vega, { compile }] = await Promise.all([import('vega'), import('vega-lite')]);
  const compiled = compile(spec as unknown as Parameters<typeof compile>[0]);
  const view = new vega.View(vega.parse(compiled.spec), { renderer: 'none' });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}
