// hostile-worker.mjs - a worker whose kernels misbehave, for the tests of the campaign. It is the
// real worker (serve.ts) over kernels that crash, hang, end the process or lose the device.
//
//   hostile:MODE[@TOKENS][?FILE]   misbehaves on cases with a request of at least TOKENS tokens
//   ?FILE                          only while FILE does not exist; it is made by the first
//                                  misbehaviour

import { spawn } from 'node:child_process';
import { existsSync, writeFileSync, writeSync } from 'node:fs';
import { codeLmSource } from '../../dist/fuzz/campaign/code-lm.js';
import { serve } from '../../dist/fuzz/campaign/serve.js';
import { openKernel } from '../../dist/fuzz/kernels/open.js';
import { caseHash } from '../../dist/properties/case.js';
import { pageTable } from '../../dist/properties/pages.js';
import { pageCount, pageLookup, recordCounts } from '../../dist/reference/page-table.js';
import { isPlain, recordTokens } from '../../dist/reference/scheme.js';

/** Short requests: these tests are about processes, and a case should cost little. */
const TOKENS_MAX = 400;

const misbehave = {
  segfault: () => process.kill(process.pid, 'SIGSEGV'),
  abort: () => process.abort(),
  exit: () => process.exit(0),
  hang: () => {
    for (;;);
  },
  throw: () => {
    throw new Error('a bug of the binding');
  },
  'device-error': () => ({ kind: 'device-error', reason: 'an illegal memory access' }),
  // Until the limit on memory ends it; the buffers are written to, else they take none.
  memory: () => {
    const kept = [];
    for (;;) kept.push(Buffer.alloc(1 << 24, 1));
  },
  output: () => {
    const text = 'all work and no play\n'.repeat(1000);
    for (;;) {
      try {
        writeSync(2, text);
      } catch {
        // The pipe is full until the supervisor has read it.
      }
    }
  },
  // Bounded: no more than 300 sleepers, which end by themselves.
  forks: () => {
    for (let i = 0; i < 300; i++)
      spawn('sleep', ['20'], { detached: i % 2 === 0, stdio: 'inherit' });
    for (;;);
  },
  // Takes the supervisor along, as a kernel does that brings the machine down.
  'kill-parent': () => process.kill(process.ppid, 'SIGKILL'),
  refuse: () => ({ kind: 'refused', reason: 'no memory for the workspace' }),
};

/** A wrong answer: the first code of a page that is in use has another bit, where there are codes. */
function spoiled(result, c) {
  if (result.kind !== 'ran' || isPlain(c.scheme)) return result;
  const table = pageTable(c);
  const request = recordCounts(c.problem).findIndex((records) => records > 0);
  if (request === -1) return result;
  const page = pageLookup(c.problem, table)(request, 0);
  result.cache[page * (result.cache.length / pageCount(c.problem, table))] ^= 1;
  return result;
}

/** The same where there is a record, else one bit of the first token of a residual window. */
function spoiledAnywhere(result, c) {
  const { problem, scheme } = c;
  if (!isPlain(scheme) && recordCounts(problem).some((records) => records > 0)) {
    return spoiled(result, c);
  }
  const request = problem.tokens.findIndex((tokens) => tokens % recordTokens > 0);
  if (result.kind !== 'ran' || request === -1) return result;
  result.kResidual[request * recordTokens * problem.kvHeads * problem.headSize] ^= 1;
  return result;
}

/** Wrong answers that need no process to suffer: by mode. */
const lies = {
  wrong: spoiled,
  /** Every number is half or twice what it should be. */
  doubled: (result) => ({ ...result, output: result.output.map((word) => word ^ 0x400) }),
  /** An output that lacks its last element. */
  shape: (result) => ({ ...result, output: result.output.subarray(1) }),
  /** What the host says of a kernel that wrote behind its output. */
  overrun: (result) => ({
    ...result,
    violations: [{ buffer: 'output', kind: 'redzone', offset: result.output.length * 2, count: 2 }],
  }),
  /** Wrong in one case of a hundred, which the name of the case decides, and nowhere else. */
  canary: (result, c) =>
    Number.parseInt(caseHash(c).slice(0, 8), 16) % 100 === 0 ? spoiledAnywhere(result, c) : result,
};

/** What the kernel below would run, but this one does not declare. */
function declined({ problem }) {
  const longest = Math.max(...problem.tokens);
  return longest > TOKENS_MAX ? `problem.tokens: ${longest}, at most ${TOKENS_MAX}` : null;
}

function open(uri, options) {
  const match = /^hostile:([a-z-]+)(?:@(\d+))?(?:\?(.*))?$/.exec(uri);
  const opened = openKernel('ref:', options);
  if (match === null || opened.kind !== 'kernel') return opened;
  const [, mode, tokens = '0', file] = match;
  if (mode === 'lost' && existsSync(file)) {
    return { kind: 'error', exitCode: 3, message: `${uri}: no device answers` };
  }
  const { kernel } = opened;
  const hostile = {
    uri,
    device: kernel.device,
    capabilities: { ...kernel.capabilities, tokensMax: TOKENS_MAX, emulated: mode !== 'lost' },
    supports: (c) => declined(c) ?? kernel.supports(c),
    close: () => kernel.close(),
    run(c, inputs, runOptions) {
      const calm = file !== undefined && existsSync(file);
      if (calm || Math.max(...c.problem.tokens) < Number(tokens)) {
        return kernel.run(c, inputs, runOptions);
      }
      if (file !== undefined) writeFileSync(file, '');
      if (lies[mode] !== undefined) return lies[mode](kernel.run(c, inputs, runOptions), c);
      const result = mode === 'lost' ? process.abort() : misbehave[mode]();
      // A signal that this process sent to itself arrives a moment later.
      while (result === true);
      return result;
    },
  };
  return { kind: 'kernel', kernel: hostile };
}

serve({ open, list: () => [], source: codeLmSource() });
