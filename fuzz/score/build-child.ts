// build-child.ts - the entry point of a process that builds one mutant and says what came of it:
// `plain` or `checked` for the library, `code` for a hash of its machine code. Without a file it
// builds the clean kernels. A process of its own, so that a deadline can end it together with the
// compiler (build.ts).

import { type Mutant, type MutantResult, readMutant } from '../kernels/mutant.js';
import { type BuildResult, buildMutant, codeHash } from '../kernels/mutant-build.js';

export type ChildReply = BuildResult | { kind: 'code'; hash: string };

const CLEAN: Mutant = {
  ...{ id: 'clean', class: 'none', story: 'no edit', precedent: 'none' },
  ...{ architecture: 'sm_90', edits: [] },
};

const [what, path] = process.argv.slice(2);
const read: MutantResult =
  path === undefined ? { kind: 'mutant', mutant: CLEAN } : readMutant(path);

function reply(): ChildReply {
  if (read.kind === 'error') return { kind: 'misfit', message: read.message };
  const options = { checked: what === 'checked', compileAll: what === 'code' };
  const built = buildMutant(read.mutant, options);
  if (what !== 'code' || built.kind !== 'built') return built;
  return { kind: 'code', hash: codeHash(built.path) };
}

process.send?.(reply(), () => process.disconnect());
