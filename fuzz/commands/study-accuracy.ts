// study-accuracy - errors of attention against the bits of its cache; what is asked, how and what
// would refute it stands in fuzz/studies/accuracy.ts.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { accuracyLines } from '../report/study.js';
import { print, tell } from '../report/writer.js';
import {
  ACCURACY_SCHEMA,
  accuracyData,
  accuracyRows,
  accuracyTasks,
  accuracyUnsupported,
} from '../studies/accuracy.js';
import { type Extent, SECTIONS, sectionsOf } from '../studies/accuracy-sections.js';
import { type AccuracySource, readUserFiles } from '../studies/accuracy-source.js';
import { statistics } from '../studies/statistics.js';
import { type Datum, parquetFrom, writeCsv } from '../studies/table-file.js';
import { parseCount, reportPath, seedFrom, UsageError } from './arguments.js';
import { drawFigures } from './study-figures.js';
import { listOf, ownCommit } from './study-options.js';
import { openRecords, runStudy, type StudyFlags, writeResult } from './study-run.js';

export interface AccuracyFlags extends StudyFlags {
  sections?: string;
  seeds?: string;
  k?: string;
  v?: string;
  q?: string;
  scale?: string;
}

const VERB = 'study accuracy';
/** Repeats of every drawn source. */
const SEEDS = 5;
const QUICK_SEEDS = 2;

export async function studyAccuracy(flags: AccuracyFlags, version: string): Promise<number> {
  const startedAt = Date.now();
  reportPath('--json', flags.json);
  const own = userSources(flags);
  const seeds = parseCount('--seeds', flags.seeds ?? `${flags.quick ? QUICK_SEEDS : SEEDS}`, 1000);
  const extent: Extent = { quick: flags.quick, seeds, own };
  const sections = sectionsOf(listOf('--sections', flags.sections, SECTIONS), extent);
  if (sections.length === 0) {
    throw new UsageError(
      '--sections: distributions and lengths are of drawn tensors, not of files',
    );
  }
  const tasks = accuracyTasks(sections);
  const seed = seedFrom(flags.seed);
  const commit = ownCommit(version);
  const { kernel } = flags;
  print(`seed ${seed}`);
  const files = JSON.stringify([flags.k, flags.v, flags.q, flags.scale].map((x) => x ?? null));
  const identity = { study: 'accuracy', kernel, commit, files, quick: String(flags.quick) };
  const records = openRecords(flags, identity);
  const ran = await runStudy(VERB, flags, records, { study: 'accuracy', kernel }, tasks);
  if (ran.kind === 'ended') return ran.exitCode;
  const data = accuracyData(tasks, ran.values);
  if (data.length === 0) {
    tell(`kvproof ${VERB}: nothing was measured, see "unsupported" in the result`);
  }
  const rows = accuracyRows(data, await statistics(seed));
  const unsupported = accuracyUnsupported(ran.values);
  print('', ...accuracyLines(rows, unsupported));
  const code = writeResult(VERB, flags, {
    ...{ schema: ACCURACY_SCHEMA, seed, kernel, device: ran.device, commit },
    elapsedMs: Date.now() - startedAt,
    ...{ sections: sections.map(({ name }) => name), seeds, rows, unsupported },
  });
  if (code !== 0) return code;
  await writeData(flags.out, data as unknown as Datum[]);
  return data.length === 0 ? 3 : drawFigures(flags.out);
}

/** The table of single measurements: JSON and CSV, and Parquet where DuckDB is installed. */
export async function writeData(folder: string, data: readonly Datum[]): Promise<void> {
  const csv = join(folder, 'data.csv');
  writeFileSync(join(folder, 'data.json'), `${JSON.stringify(data)}\n`);
  writeCsv(csv, data);
  const without = await parquetFrom(csv, join(folder, 'data.parquet'));
  if (without !== null) print(without);
}

/** Heads of the user's files; null: none were given. */
function userSources({ k, v, q, scale }: AccuracyFlags): AccuracySource[] | null {
  if (k === undefined && v === undefined && q === undefined) {
    if (scale !== undefined) throw new UsageError('--scale: goes with --k, --v and --q');
    return null;
  }
  const missing = Object.entries({ k, v, q }).find(([, path]) => path === undefined);
  if (missing !== undefined) {
    throw new UsageError(`--${missing[0]}: missing, --k, --v and --q go together`);
  }
  const softmaxScale = scale === undefined ? null : Number(scale);
  if (softmaxScale !== null && !(Number.isFinite(softmaxScale) && softmaxScale !== 0)) {
    throw new UsageError(`--scale: "${scale}" is not a number other than 0`);
  }
  const files = { k: k as string, v: v as string, q: q as string, softmaxScale };
  const read = readUserFiles(files);
  if (read.kind === 'error') throw new UsageError(read.message);
  for (const name of ['k', 'v', 'q'] as const) {
    const { rounded, values } = read[name];
    if (rounded > 0) print(`--${name}: ${rounded} of ${values.length} values rounded to fp16`);
  }
  return Array.from({ length: read.heads }, (_, head) => ({ kind: 'files', files, head }));
}
