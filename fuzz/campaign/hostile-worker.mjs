// hostile-worker.mjs - a worker whose kernels misbehave, for the tests of the campaign. It is the
// real worker (serve.ts) over kernels that crash, hang, end the process or lose the device.
//
//   hostile:MODE[@TOKENS][?FILE]   misbehaves on cases with a request of at least TOKENS tokens
//   ?FILE                          only while FILE does not exist; it is made by the first
//                                  misbehaviour

import { existsSync, writeFileSync } from 'node:fs';
import { codeLmSource } from '../../dist/fuzz/campaign/code-lm.js';
import { serve } from '../../dist/fuzz/campaign/serve.js';
import { openKernel } from '../../dist/fuzz/kernels/open.js';

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
  refuse: () => ({ kind: 'refused', reason: 'no memory for the workspace' }),
};

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
    capabilities: { ...kernel.capabilities, emulated: mode !== 'lost' },
    supports: (c) => kernel.supports(c),
    close: () => kernel.close(),
    run(c, inputs, runOptions) {
      const calm = file !== undefined && existsSync(file);
      if (calm || Math.max(...c.problem.tokens) < Number(tokens)) {
        return kernel.run(c, inputs, runOptions);
      }
      if (file !== undefined) writeFileSync(file, '');
      const result = mode === 'lost' ? process.abort() : misbehave[mode]();
      // A signal that this process sent to itself arrives a moment later.
      while (result === true);
      return result;
    },
  };
  return { kind: 'kernel', kernel: hostile };
}

serve({ open, list: () => [], source: codeLmSource() });
