// device-worker.ts URI - opens a kernel of a GPU and passes calls on to the clock, one at a time.
//
// Started by device.ts. Its first message says what was opened, every other one answers a call.

import { builtLibrary, CUDA_REMEDY } from '../kernels/built-library.js';
import { NativeKernel } from '../kernels/native.js';
import { openKernel } from '../kernels/open.js';
import type { DeviceHello } from './device.js';

type Refusal = Extract<DeviceHello, { kind: 'error' }>;

function open(uri: string): { kernel: NativeKernel; clock: string } | Refusal {
  const refuse = (exitCode: 2 | 3, message: string): Refusal => {
    return { kind: 'error', exitCode, message };
  };
  const opened = openKernel(uri, { checked: false });
  if (opened.kind === 'error') return refuse(opened.exitCode, opened.message);
  const { kernel } = opened;
  if (!(kernel instanceof NativeKernel) || kernel.capabilities.emulated) {
    return refuse(2, `${uri}: is not a kernel on a GPU, only those are timed`);
  }
  const clock = builtLibrary('libkvproof_bench.so', CUDA_REMEDY);
  if (clock.kind === 'error') return refuse(3, clock.message);
  return { kernel, clock: clock.path };
}

const opened = open(process.argv[2]);
if ('kind' in opened) {
  process.send?.(opened, () => process.disconnect());
} else {
  const { kernel, clock } = opened;
  process.on('message', (request: object) => {
    try {
      process.send?.(kernel.bench(clock, request));
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      process.send?.({ kind: 'error', exitCode: 3, message });
    }
  });
  process.on('disconnect', () => process.exit());
  const { device, capabilities } = kernel;
  process.send?.({ kind: 'open', device, capabilities } satisfies DeviceHello);
}
