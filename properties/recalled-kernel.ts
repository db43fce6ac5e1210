// RecalledKernel: another kernel whose equal runs are made once, for tests that put the same cases
// to it many times. Only for one whose answer is a function of case, inputs, poison and splits, as
// the reference's is: what else a run may depend on (schedule, stream, earlier runs) would be lost.
// Inputs are compared word by word, and every result lives as long as the kernel.

import { type Case, caseHash } from './case.js';
import type { Inputs, Kernel, RunOptions, RunResult } from './kernel.js';

const bytesOf = ({ buffer, byteOffset, byteLength }: Uint16Array) =>
  new Uint8Array(buffer, byteOffset, byteLength);
const areEqual = (a: Inputs, b: Inputs) =>
  (['q', 'k', 'v'] as const).every(
    (name) => Buffer.compare(bytesOf(a[name]), bytesOf(b[name])) === 0,
  );

export class RecalledKernel implements Kernel {
  readonly uri: Kernel['uri'];
  readonly device: Kernel['device'];
  readonly capabilities: Kernel['capabilities'];
  private readonly runs = new Map<string, { inputs: Inputs; result: RunResult }[]>();

  constructor(private readonly right: Kernel) {
    this.uri = right.uri;
    this.device = right.device;
    this.capabilities = right.capabilities;
  }

  supports(c: Case): string | null {
    return this.right.supports(c);
  }

  run(c: Case, inputs: Inputs, options: RunOptions): RunResult {
    const name = `${caseHash(c)} ${options.poison} ${options.splits}`;
    const known = this.runs.get(name) ?? [];
    const recalled = known.find((run) => areEqual(run.inputs, inputs));
    if (recalled !== undefined) return recalled.result;
    const result = this.right.run(c, inputs, options);
    this.runs.set(name, [...known, { inputs, result }]);
    return result;
  }

  close(): void {
    this.runs.clear();
    this.right.close();
  }
}
