// build-child.ts - the entry point of a process that builds one mutant and says what came of it.
// A process of its own, so that a deadline can end it together with the compiler (build.ts).

import { readMutant } from '../kernels/mutant.js';
import { type BuildResult, buildMutant } from '../kernels/mutant-build.js';

const [path, checked] = process.argv.slice(2);
const read = readMutant(path);
const result: BuildResult =
  read.kind === 'error'
    ? { kind: 'misfit', message: read.message }
    : buildMutant(read.mutant, { checked: checked === 'checked' });
process.send?.(result, () => process.disconnect());
