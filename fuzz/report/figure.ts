// figure.ts - a vega-lite specification as SVG text, without a browser.
//
// vega takes 0.3 to 0.8 s to load, so it is loaded with the first figure. The specification is data
// and draws from the values that it holds; nothing is fetched.

/** A vega-lite specification; its own types are of no help for a spec that is made from parts. */
export type FigureSpec = Readonly<Record<string, unknown>>;

const CONFIG = {
  font: 'system-ui, sans-serif',
  background: null,
  view: { stroke: null },
  axis: { labelColor: '#555', titleColor: '#333', gridColor: '#eee', titleFontWeight: 500 },
  legend: { labelColor: '#333', titleColor: '#333', orient: 'bottom', columns: 3 },
  title: { color: '#222', anchor: 'start', fontSize: 13, fontWeight: 600, offset: 8 },
} as const;

/** Colours that a colour-blind reader can tell apart (Okabe and Ito 2008), dark ones first. */
export const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000'];

export async function figureSvg(spec: FigureSpec): Promise<string> {
  const [vega, vegaLite] = await Promise.all([import('vega'), import('vega-lite')]);
  const quiet = { ...CONFIG, ...(spec.config as object | undefined) };
  const full = { $schema: 'https://vega.github.io/schema/vega-lite/v6.json', ...spec };
  const compiled = vegaLite.compile({ ...full, config: quiet } as never, {
    logger: silent as never,
  });
  const view = new vega.View(vega.parse(compiled.spec), { renderer: 'none' });
  view.logLevel(vega.Error);
  const svg = await view.toSVG();
  view.finalize();
  // Fixed sizes become a box that the page may scale: a phone is narrower than a figure.
  return svg.replace(/<svg ([^>]*)width="(\d+)" height="(\d+)"/, '<svg $1width="100%"');
}

/** vega-lite warns of what cannot be seen, such as a domain that is drawn as it was asked for. */
const silent = {
  level: () => silent,
  error: () => silent,
  warn: () => silent,
  info: () => silent,
  debug: () => silent,
};
