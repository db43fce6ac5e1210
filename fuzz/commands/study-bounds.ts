// study-bounds - what the proven bounds see and how much room they leave; what is asked, how and
// what would refute it stands in fuzz/studies/bounds.ts.

import { fnv1a64 } from '../../properties/hash.js';
import { boundsLines } from '../report/study.js';
import { print, tell } from '../report/writer.js';
import { BOUNDS_SCHEMA, boundsTable, boundsTasks, refutations } from '../studies/bounds.js';
import { parseCount, reportPath, seedFrom } from './arguments.js';
import { ownCommit } from './study-options.js';
import { openRecords, runStudy, type StudyFlags, writeResult } from './study-run.js';

const VERB = 'study bounds';
/** Rows of a case: the least that fills eight KV heads of 64 query heads. */
const ROWS = 64;
const ROWS_MAX = 2 ** 20;

export interface BoundsFlags extends StudyFlags {
  rows?: string;
}

export async function studyBounds(flags: BoundsFlags, version: string): Promise<number> {
  const startedAt = Date.now();
  reportPath('--json', flags.json);
  const seed = seedFrom(flags.seed);
  const rows = flags.rows === undefined ? ROWS : parseCount('--rows', flags.rows, ROWS_MAX);
  const commit = ownCommit(version);
  const { kernel } = flags;
  print(`seed ${seed}`);
  const identity = { study: 'bounds', kernel, commit, quick: String(flags.quick) };
  const tasks = boundsTasks(Number.parseInt(fnv1a64(`${seed}`).slice(0, 8), 16), rows, flags.quick);
  const setup = { study: 'bounds' as const, kernel };
  const ran = await runStudy(VERB, flags, openRecords(flags, identity), setup, tasks);
  if (ran.kind === 'ended') return ran.exitCode;
  const table = boundsTable(tasks, ran.values);
  const found = refutations(table);
  print('', ...boundsLines(table));
  const code = writeResult(VERB, flags, {
    ...{ schema: BOUNDS_SCHEMA, seed, kernel, device: ran.device, commit },
    elapsedMs: Date.now() - startedAt,
    ...table,
    refutations: found,
  });
  if (code !== 0 || found === 0) return code;
  tell(`kvproof ${VERB}: ${found} results that refute the bounds`);
  return 1;
}
