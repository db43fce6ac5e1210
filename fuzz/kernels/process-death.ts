// process-death.ts - the end of a kernel's own process (exec:), as an exception.
//
// Nothing that ran after it can be blamed on the kernel, so it is no result: it passes through the
// properties to the worker (campaign/serve.ts), which reports it as a crash of the case.

export class ProcessDeath extends Error {
  override readonly name = 'ProcessDeath';

  /** how: "SIGSEGV", "exit-3", or "protocol" for a process that answers what nobody asked. */
  constructor(
    readonly how: string,
    /** One sentence, or the last line of its error output. */
    readonly detail: string,
  ) {
    super(`the kernel's process ended with ${how}${detail === '' ? '' : `: ${detail}`}`);
  }
}
