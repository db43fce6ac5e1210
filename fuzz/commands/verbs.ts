// verbs.ts - every verb of the command line, in the order of the help. A new verb is a line here, a
// definition NAME.verb.ts and its code NAME.ts.

import { benchVerb } from './bench.verb.js';
import { conformVerb } from './conform.verb.js';
import { corpusVerb } from './corpus.verb.js';
import { doctorVerb } from './doctor.verb.js';
import { fuzzVerb } from './fuzz.verb.js';
import { initVerb } from './init.verb.js';
import { kernelsVerb } from './kernels.verb.js';
import { mergeVerb } from './merge.verb.js';
import { replayVerb } from './replay.verb.js';
import { reportVerb } from './report.verb.js';
import { scoreVerb } from './score.verb.js';
import { shrinkVerb } from './shrink.verb.js';
import { statusVerb } from './status.verb.js';
import { studyVerb } from './study.verb.js';
import type { DefineVerb } from './verb.js';
import { verifyVerb } from './verify.verb.js';

export const verbs: readonly DefineVerb[] = [
  verifyVerb,
  fuzzVerb,
  mergeVerb,
  statusVerb,
  reportVerb,
  replayVerb,
  shrinkVerb,
  corpusVerb,
  scoreVerb,
  benchVerb,
  studyVerb,
  conformVerb,
  initVerb,
  kernelsVerb,
  doctorVerb,
];
