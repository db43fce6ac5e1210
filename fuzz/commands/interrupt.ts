// interrupt.ts - Ctrl-C and SIGTERM: stop starting cases, end the workers, report what there is.
// The second one ends the process at once.

let signal: AbortSignal | null = null;

export function interruptSignal(): AbortSignal {
  if (signal !== null) return signal;
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(3);
      controller.abort();
    });
  }
  ({ signal } = controller);
  return signal;
}
