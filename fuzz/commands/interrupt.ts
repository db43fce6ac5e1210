// interrupt.ts - Ctrl-C and SIGTERM: stop starting cases, end the workers, report what there is.
// The second one ends the process at once.

import { setMaxListeners } from 'node:events';

let signal: AbortSignal | null = null;

export function interruptSignal(): AbortSignal {
  if (signal !== null) return signal;
  const controller = new AbortController();
  setMaxListeners(0, controller.signal); // one for each worker, however many there are
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(3);
      controller.abort();
    });
  }
  ({ signal } = controller);
  return signal;
}
