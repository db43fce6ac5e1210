// serve.ts - the life of a worker process: open one kernel, then answer case after case.
//
// A kernel runs synchronously, so that while it runs this process hears nothing; the supervisor's
// deadline is what ends a kernel that hangs. If the supervisor itself is gone nobody would, so a
// thread of its own looks for the parent every second and ends the process, with the group that it
// leads, when it has changed.

import { Worker } from 'node:worker_threads';
import type { Case } from '../../properties/case.js';
import { properties } from '../../properties/catalogue.js';
import { laws } from '../../properties/conformance.js';
import type { Kernel } from '../../properties/kernel.js';
import { materialize, type TensorSource } from '../../properties/materialize.js';
import { type OutputError, outputErrorOf } from '../../properties/output-error.js';
import type { Property } from '../../properties/property.js';
import { twinOf } from '../../properties/twin.js';
import type { NativeReference } from '../kernels/native-reference.js';
import type { KernelListing, OpenResult } from '../kernels/open.js';
import { DeviceProbe } from './device-probe.js';
import { judgeCase } from './judge.js';
import { nativeAgreement } from './native-agreement.js';
import { SUPERVISOR } from './process-tree.js';
import type { FromWorker, ToWorker } from './protocol.js';
import { sweepCases, sweepReference } from './sweep.js';

/** What the process can open; the tests serve kernels that crash and hang in the same way. */
export interface Kernels {
  open(uri: string, options: { checked: boolean }): OpenResult;
  list(): KernelListing[];
  source: TensorSource;
}

export function serve(kernels: Kernels): void {
  endWithParent();
  let kernel: Kernel | null = null;
  let known: readonly Property[] = properties;
  let probe: DeviceProbe | null = null;
  let reference: NativeReference | null = null;
  process.on('message', (message: ToWorker) => {
    if (message.kind === 'list') {
      send({ kind: 'listing', kernels: kernels.list() });
    } else if (message.kind === 'open') {
      const opened = openSafely(kernels, message);
      const twin =
        message.twin === undefined ? null : openSafely(kernels, { ...message, uri: message.twin });
      if (twin?.kind === 'error') {
        send({ kind: 'not-opened', exitCode: twin.exitCode, message: `--twin: ${twin.message}` });
      } else if (opened.kind === 'kernel') {
        if (twin !== null) known = [...properties, twinOf(twin.kernel)];
        if (message.sweep) {
          const native = sweepReference(opened.kernel);
          if (native.kind === 'error') {
            const why = `--full-one-in: ${native.message}`;
            send({ kind: 'not-opened', exitCode: 2, message: why });
            return;
          }
          ({ reference } = native);
          known = [...known, nativeAgreement(reference)];
        }
        ({ kernel } = opened);
        probe = DeviceProbe.of(opened.kernel);
        const { device, capabilities } = opened.kernel;
        send({ kind: 'hello', device, capabilities });
      } else {
        send({ kind: 'not-opened', exitCode: opened.exitCode, message: opened.message });
      }
    } else if (kernel === null) {
      throw new Error('a case came before the kernel was opened');
    } else if (message.kind === 'sweep') {
      if (reference === null) throw new Error('a sweep was asked of a process without a reference');
      const result = sweepCases(kernel, reference, message.cases);
      if (result.kind === 'swept') {
        const deviceError = result.deviceError ?? probe?.complaint() ?? null;
        send({ ...result, deviceError, id: message.id });
      } else {
        send({ ...result, id: message.id });
      }
    } else if (message.kind === 'measure') {
      const error = measured(kernel, message.case, kernels.source);
      send({ kind: 'measured', id: message.id, error });
    } else {
      const names = message.properties;
      // Laws of conformance are judged where they are asked for by name only.
      const chosen =
        names === null ? known : [...known, ...laws].filter((p) => names.includes(p.name));
      const result = judgeCase(kernel, message.case, kernels.source, chosen);
      if (result.kind === 'judged' && result.deviceError === null) {
        const reason = probe?.complaint() ?? null;
        const deviceError = reason === null ? null : { reason };
        send({ ...result, deviceError, id: message.id });
      } else {
        send({ ...result, id: message.id });
      }
    }
  });
  process.on('disconnect', () => process.exit(0));
  // Ctrl-C in a terminal reaches every process of the group; the supervisor decides what ends when.
  process.on('SIGINT', () => {});
}

function openSafely(
  kernels: Kernels,
  { uri, checked }: { uri: string; checked: boolean },
): OpenResult {
  try {
    return kernels.open(uri, { checked });
  } catch (error) {
    const text = error instanceof Error ? error.message.split('\n')[0] : String(error);
    return { kind: 'error', exitCode: 3, message: `${uri}: cannot be opened (${text})` };
  }
}

function measured(kernel: Kernel, c: Case, source: TensorSource): OutputError | null {
  const inputs = materialize(c, source);
  if (inputs.kind === 'error') throw new Error(inputs.message);
  return outputErrorOf(kernel, c, inputs.inputs);
}

function send(message: FromWorker): void {
  process.send?.(message);
}

export function endWithParent(): void {
  const watch = `
    const parent = require('node:worker_threads').workerData;
    const end = (pid) => { try { process.kill(pid, 'SIGKILL'); } catch {} };
    setInterval(() => {
      if (process.ppid === parent) return;
      end(-process.pid);
      end(process.pid);
    }, 1000);`;
  const parent = Number(process.env[SUPERVISOR] ?? process.ppid);
  new Worker(watch, { eval: true, workerData: parent }).unref();
}
