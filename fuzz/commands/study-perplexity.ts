// study-perplexity - perplexity of a trained model against the bits of its cache; what is asked,
// how and what would refute it stands in fuzz/studies/perplexity.ts.

import { perplexityLines } from '../report/study.js';
import { print, tell } from '../report/writer.js';
import { AXES, BIT_PAIRS, configGrid, EQUAL_PAIRS, GROUPS } from '../studies/cache-config.js';
import { PERPLEXITY_SCHEMA, perplexityTable, perplexityTasks } from '../studies/perplexity.js';
import { statistics } from '../studies/statistics.js';
import { reportPath, seedFrom } from './arguments.js';
import { drawFigures } from './study-figures.js';
import {
  bitPairs,
  listOf,
  modelFolder,
  ownCommit,
  protocolFrom,
  windowsFrom,
} from './study-options.js';
import { openRecords, runStudy, type StudyFlags, writeResult } from './study-run.js';

export interface PerplexityFlags extends StudyFlags {
  axes?: string;
  groups?: string;
  bits?: string;
  windows?: string;
  scored?: string;
  model?: string;
  free: boolean;
}

const VERB = 'study perplexity';
/** Of a whole run and of --quick; the recorded base loss is of 32. */
const WINDOWS = 8;
const QUICK_WINDOWS = 2;

export async function studyPerplexity(flags: PerplexityFlags, version: string): Promise<number> {
  const startedAt = Date.now();
  reportPath('--json', flags.json);
  const pairs = bitPairs('--bits', flags.bits, flags.quick ? EQUAL_PAIRS : BIT_PAIRS);
  const axes = listOf('--axes', flags.axes, AXES);
  const configs = configGrid(axes, listOf('--groups', flags.groups, GROUPS), pairs);
  const seed = seedFrom(flags.seed);
  const commit = ownCommit(version);
  const model = modelFolder(flags.model);
  const protocol = protocolFrom(flags.scored);
  const otherwise = flags.quick ? QUICK_WINDOWS : WINDOWS;
  const windows = windowsFrom(flags.windows, otherwise, model, protocol);
  const { kernel } = flags;
  print(`seed ${seed}`);
  const states = flags.free ? ('free' as const) : ('pinned' as const);
  const identity = { study: 'perplexity', kernel, commit, model, states, ...protocol };
  const setup = { study: 'perplexity' as const, kernel, model, protocol, states };
  const tasks = perplexityTasks(configs, windows);
  const ran = await runStudy(VERB, flags, openRecords(flags, identity), setup, tasks);
  if (ran.kind === 'ended') return ran.exitCode;
  const { bootstrap } = await statistics(seed);
  const table = perplexityTable(configs, windows, ran.values, bootstrap);
  print('', ...perplexityLines(table, windows));
  const code = writeResult(VERB, flags, {
    ...{ schema: PERPLEXITY_SCHEMA, seed, kernel, device: ran.device, commit },
    elapsedMs: Date.now() - startedAt,
    protocol: { model: 'code-lm', ...protocol, states, windows, tokens: table.tokens },
    ...{ base: table.base, rows: table.rows, unsupported: table.unsupported },
  });
  if (code !== 0) return code;
  if (table.rows.length === 0) {
    tell(`kvproof ${VERB}: ${kernel} supports none of the caches: nothing was measured`);
    return 3;
  }
  return drawFigures(flags.out);
}
