// corpus - lists the files of a corpus that can go, and with --write removes them. Exit codes:
// 0 whatever was found, 2 wrong usage (an unreadable file among them), 3 a kernel does not open.

import { rmSync } from 'node:fs';
import { undeclared } from '../../properties/declared.js';
import type { Capabilities, Case } from '../../properties/index.js';
import { readCases } from '../campaign/case-file.js';
import { minimised, pruned, type Superfluous } from '../campaign/corpus-care.js';
import { openGroups } from '../campaign/kernel-group.js';
import { Workdir } from '../campaign/workdir.js';
import { DEFAULT_LIMITS } from '../campaign/worker-process.js';
import { print, tell } from '../report/writer.js';
import { UsageError } from './arguments.js';

export interface CorpusFlags {
  kernel: string[];
  workdir: string;
  write: boolean;
  json: boolean;
}

export const CORPUS_SCHEMA = 'kvproof.corpus/1';

export async function corpus(
  what: 'minimise' | 'prune',
  folder: string,
  flags: CorpusFlags,
): Promise<number> {
  const read = readCases(folder);
  if (read.kind === 'error') throw new UsageError(read.message);
  const { stored } = read;
  let found: Superfluous[];
  if (what === 'minimise') {
    found = minimised(stored);
  } else {
    const declared = await declarations(flags);
    if (declared.kind === 'error') {
      tell(`kvproof corpus: ${declared.message}`);
      return declared.exitCode;
    }
    found = pruned(stored, (c) => unsupportedByAll(declared.kernels, c));
  }
  if (flags.write) for (const { path } of found) rmSync(path);
  const kept = stored.length - found.length;
  if (flags.json) {
    const { write } = flags;
    print(
      JSON.stringify({ schema: CORPUS_SCHEMA, what, files: stored.length, kept, write, found }),
    );
    return 0;
  }
  const how = flags.write ? 'removed' : 'can be removed (--write does it)';
  print(
    ...found.map(({ path, why }) => `${path}: ${why}`),
    `${stored.length} files, ${kept} kept, ${found.length} ${how}`,
  );
  return 0;
}

interface Declared {
  readonly name: string;
  readonly capabilities: Capabilities;
}

type Declarations =
  | { kind: 'kernels'; kernels: Declared[] }
  | { kind: 'error'; exitCode: 2 | 3; message: string };

/** What the kernels say that they support; none: every case is supported. */
async function declarations({ kernel, workdir }: CorpusFlags): Promise<Declarations> {
  if (kernel.length === 0) return { kind: 'kernels', kernels: [] };
  const made = Workdir.open(workdir);
  if (made.kind === 'error') return { kind: 'error', exitCode: 2, message: made.message };
  const opened = await openGroups(kernel, 1, {
    ...{ checked: false, twin: undefined, workdir: made.workdir, limits: DEFAULT_LIMITS },
  });
  if (opened.kind === 'error') return opened;
  const kernels = opened.groups.map(({ name, hello }) => {
    return { name, capabilities: hello.capabilities };
  });
  await Promise.all(opened.groups.flatMap(({ lanes }) => lanes.map(({ lane }) => lane.close())));
  return { kind: 'kernels', kernels };
}

function unsupportedByAll(kernels: readonly Declared[], c: Case): string | null {
  if (kernels.length === 0) return null;
  const reasons = kernels.map(({ name, capabilities }) => {
    const reason = undeclared(capabilities, c);
    return reason === null ? null : `${name} does not support it, ${reason}`;
  });
  return reasons.every((reason) => reason !== null) ? reasons.join('; ') : null;
}
