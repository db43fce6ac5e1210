// study-figures - figures and page of a study from what is stored in its folder: nothing is
// measured.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { reasonOf } from '../campaign/workdir.js';
import { studyPage } from '../report/study-page.js';
import { print } from '../report/writer.js';
import { ACCURACY_SCHEMA } from '../studies/accuracy.js';
import { type AccuracyResult, accuracyFigures } from '../studies/accuracy-figures.js';
import { ALLOCATION_SCHEMA } from '../studies/allocation.js';
import { type AllocationResult, allocationFigures } from '../studies/allocation-figures.js';
import { type Figure, svgOf } from '../studies/figure.js';
import { PERPLEXITY_SCHEMA } from '../studies/perplexity.js';
import { type PerplexityResult, perplexityFigures } from '../studies/perplexity-figures.js';
import { UsageError } from './arguments.js';
import { statementOf } from './study-statement.js';

type Result = Readonly<Record<string, unknown>>;

interface Study {
  readonly title: string;
  /** File of fuzz/studies whose header states the study. */
  readonly file: string;
  figures(result: Result): Figure[];
}

const STUDIES: Readonly<Record<string, Study>> = {
  [PERPLEXITY_SCHEMA]: {
    title: 'Perplexity against the bits of a KV cache',
    file: 'perplexity',
    figures: (result) => perplexityFigures(result as unknown as PerplexityResult),
  },
  [ACCURACY_SCHEMA]: {
    title: 'Accuracy of attention against the bits of a KV cache',
    file: 'accuracy',
    figures: (result) => accuracyFigures(result as unknown as AccuracyResult),
  },
  [ALLOCATION_SCHEMA]: {
    title: 'Where the bits of a KV cache are best spent',
    file: 'allocation',
    figures: (result) => allocationFigures(result as unknown as AllocationResult),
  },
};

export async function studyFigures(folder: string): Promise<number> {
  return drawFigures(folder);
}

/** figures/NAME.vl.json and NAME.svg, and report.html. */
export async function drawFigures(folder: string): Promise<number> {
  const path = join(folder, 'result.json');
  const { text, result } = readResult(path);
  const study = STUDIES[String(result.schema)];
  if (study === undefined) {
    const known = Object.keys(STUDIES).join(', ');
    throw new UsageError(
      `${path}: schema is ${JSON.stringify(result.schema)}, not one of ${known}`,
    );
  }
  const figures = study.figures(result);
  const target = join(folder, 'figures');
  mkdirSync(target, { recursive: true });
  const drawn: { name: string; caption: string; svg: string }[] = [];
  for (const figure of figures) {
    const svg = await svgOf(figure);
    const { name, caption } = figure;
    writeFileSync(join(target, `${name}.vl.json`), `${JSON.stringify(figure.spec, null, 1)}\n`);
    writeFileSync(join(target, `${name}.svg`), svg);
    drawn.push({ name, caption, svg });
  }
  const rows = (result.rows as Result[]).map(flatCells);
  const header = Object.keys(rows[0] ?? {});
  const page = studyPage({
    title: study.title,
    statement: statementOf(study.file),
    facts: factsOf(result),
    figures: drawn,
    header,
    rows: rows.map((row) => header.map((name) => row[name] ?? '')),
    json: text,
  });
  writeFileSync(join(folder, 'report.html'), page);
  print('', `${figures.length} figures in ${target}, one page in ${join(folder, 'report.html')}`);
  return 0;
}

function readResult(path: string): { text: string; result: Result } {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(
      `${path}: cannot be read (${reasonOf(error)}), a study writes it to --out`,
    );
  }
  try {
    const result: unknown = JSON.parse(text);
    if (typeof result === 'object' && result !== null && Array.isArray((result as Result).rows)) {
      return { text, result: result as Result };
    }
  } catch {
    // the same sentence
  }
  throw new UsageError(`${path}: is not the result of a study`);
}

function factsOf(result: Result): [string, string][] {
  const device = result.device as { name?: string; driver?: string } | null;
  return [
    ['kernel', String(result.kernel)],
    ['device', device === null ? '-' : `${device.name} (${device.driver})`],
    ['commit', String(result.commit)],
    ['seed', String(result.seed)],
    ['time', `${(Number(result.elapsedMs) / 1000).toFixed(0)} s`],
  ];
}

/** Nested objects as "name.field"; numbers to six digits. */
function flatCells(row: Result): Record<string, string> {
  const cells: Record<string, string> = {};
  for (const [name, value] of Object.entries(row)) {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      for (const [field, inner] of Object.entries(flatCells(value as Result))) {
        cells[`${name}.${field}`] = inner;
      }
    } else if (Array.isArray(value)) {
      cells[name] = value.map(cellOf).join(' .. ');
    } else {
      cells[name] = cellOf(value);
    }
  }
  return cells;
}

function cellOf(value: unknown): string {
  if (typeof value === 'number') return String(Number(value.toPrecision(6)));
  return value === null ? '' : String(value);
}
