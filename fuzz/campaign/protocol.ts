// protocol.ts - the messages between the supervisor and a worker process.
//
// A case goes in as data and verdicts come out; tensors never cross, because the worker makes them
// from the case (a small message takes 0.4 ms, a tensor of 4 MB 50 ms and more). The messages
// travel in Node's "advanced" serialisation, since JSON would turn a NaN ratio into null.

import type { Case } from '../../properties/case.js';
import type { Capabilities, Device, SourceLine } from '../../properties/kernel.js';
import type { OutputError } from '../../properties/output-error.js';
import type { Verdict } from '../../properties/property.js';
import type { KernelListing } from '../kernels/open.js';
import type { SweepResult } from './sweep.js';

export type ToWorker =
  /** The first message, and the only one of its kind in the life of a process. */
  | { kind: 'open'; uri: string; checked: boolean; twin: string | undefined; sweep: boolean }
  /** properties: names of those to judge, in the order of the catalogue; null: all. */
  | { kind: 'judge'; id: number; case: Case; properties: readonly string[] | null }
  /** Judged by the native reference alone; the process was opened with `sweep`. */
  | { kind: 'sweep'; id: number; cases: readonly Case[] }
  /** How far the output is from the right one, for the rules of other projects. */
  | { kind: 'measure'; id: number; case: Case }
  | { kind: 'list' };

export interface NamedVerdict {
  readonly property: string;
  readonly verdict: Verdict;
}

export interface DeviceError {
  readonly reason: string;
  /** Where an emulator stopped. */
  readonly source?: SourceLine;
}

export type FromWorker =
  | { kind: 'hello'; device: Device; capabilities: Capabilities }
  | { kind: 'not-opened'; exitCode: 2 | 3; message: string }
  /** deviceError: the device reported an error, so this process must run nothing more. */
  | { kind: 'judged'; id: number; verdicts: NamedVerdict[]; deviceError: DeviceError | null }
  /** The kernel runs in a process of its own, and that one ended. */
  | { kind: 'died'; id: number; cause: string; detail: string }
  /** Not the kernel's fault: an exception in this project, or data that is missing. */
  | { kind: 'broken'; id: number; message: string; stack: string }
  | ({ id: number } & Extract<SweepResult, { kind: 'swept' }>)
  /** null: the kernel does not support the case. */
  | { kind: 'measured'; id: number; error: OutputError | null }
  | { kind: 'listing'; kernels: KernelListing[] };
