// native.ts - the one door to native code: loads build/Release/kvproof.node and turns a kernel
// library into a Kernel.
//
// The addon (native/host) does the work: it loads the library, puts every buffer between redzones,
// poisons what the kernel has to write, runs quantize, append, decode and dequantize, and compares.
// Here are only its types; native-problem.ts has the translation of a Case into what the C
// interface calls a problem. Nothing is loaded until a kernel is opened, so importing this file is
// safe without a build.
//
// A kernel that crashes takes this process along. Only worker processes call openNative().

import { createRequire } from 'node:module';
import type { Case } from '../../properties/case.js';
import { undeclared } from '../../properties/declared.js';
import type {
  Capabilities,
  Device,
  EmulatorReport,
  Inputs,
  Kernel,
  MemoryViolation,
  Ran,
  RunOptions,
  RunResult,
  Schedule,
  Unrefused,
} from '../../properties/kernel.js';
import { sourceOf } from '../../properties/memory-law.js';
import { BUILD_REMEDY, builtLibrary } from './built-library.js';
import { parseCapabilities } from './capabilities.js';
import {
  type NativeInputs,
  type NativeProblem,
  nativeInputs,
  nativeProblem,
} from './native-problem.js';

/** Exit code 2: the request is wrong; 3: the environment lacks something. */
export type OpenResult =
  | { kind: 'kernel'; kernel: Kernel }
  | { kind: 'error'; exitCode: 2 | 3; message: string };

export interface NativeOptions {
  readonly poison: number;
  readonly schedule?: Schedule;
  /** On a stream of its own, behind inputs that arrive late. */
  readonly ownStream?: boolean;
  /** Keys and values are read back. */
  readonly dequantize?: boolean;
  /** Decode runs so often, and what comes back has decodeSeconds. */
  readonly decodes?: number;
}

interface NativeDescription {
  readonly name: string;
  readonly capabilities: string; // JSON
  readonly device: { readonly name: string; readonly driver: string; readonly sm: number };
  /** The functions that a table may lack. */
  readonly append: boolean;
  readonly dequantize: boolean;
  readonly streams: boolean;
  readonly emulated: boolean;
  readonly checked: boolean;
}

interface NativeFailure {
  readonly kind: 'unsupported' | 'refused' | 'device-error';
  readonly reason: string;
  readonly violations: readonly MemoryViolation[];
  readonly reports: readonly EmulatorReport[];
}

/** decodeSeconds, of all decodes: CPU time if emulated, else time on the wall; if asked for. */
interface TimedRan extends Ran {
  readonly decodeSeconds?: number;
}

/** What kvproof.node exports. Every function throws an Error for a wrong argument. */
export interface Addon {
  open(
    path: string,
    options: { ordinal: number; sm: number },
  ): { kind: 'opened'; handle: number } | { kind: 'no-device' | 'no-library'; message: string };
  describe(handle: number): NativeDescription;
  supports(handle: number, problem: NativeProblem): string | null;
  unrefused(handle: number, problem: NativeProblem): Unrefused[];
  run(
    handle: number,
    problem: NativeProblem,
    inputs: NativeInputs,
    options: NativeOptions,
  ): TimedRan | NativeFailure;
  /** One call of the clock at `path` (native/host/bench.h), on the kernel of a handle. */
  bench(handle: number, path: string, request: object): unknown;
  /** One call of the native reference at `path` (native/host/twin.h), on the kernel of a handle. */
  twin(handle: number, path: string, request: object): unknown;
  close(handle: number): void;
}

export type AddonResult = { kind: 'addon'; addon: Addon } | { kind: 'error'; message: string };

/** Loads the addon, or says which one line makes it. */
export function loadAddon(): AddonResult {
  const built = builtLibrary('kvproof.node');
  if (built.kind === 'error') return built;
  try {
    return { kind: 'addon', addon: createRequire(import.meta.url)(built.path) as Addon };
  } catch (error) {
    const why = error instanceof Error ? error.message.split('\n')[0] : String(error);
    return { kind: 'error', message: `${built.path}: cannot be loaded (${why}), ${BUILD_REMEDY}` };
  }
}

export interface NativeTarget {
  readonly uri: string;
  /** Of the kernel library; absolute. */
  readonly path: string;
  readonly ordinal: number;
  /** Architecture that an emulated kernel executes; 0: the device decides. */
  readonly sm: number;
}

/** Opens a kernel library on its device. */
export function openNative(target: NativeTarget): OpenResult {
  const { uri, path, ordinal, sm } = target;
  const fail = (exitCode: 2 | 3, why: string): OpenResult => {
    return { kind: 'error', exitCode, message: `${uri}: ${why}` };
  };
  const loaded = loadAddon();
  if (loaded.kind === 'error') return fail(3, loaded.message);
  const { addon } = loaded;
  const opened = addon.open(path, { ordinal, sm });
  if (opened.kind !== 'opened') return fail(opened.kind === 'no-device' ? 3 : 2, opened.message);
  const described = addon.describe(opened.handle);
  const facts = { ...described, sm: described.device.sm, farPages: true };
  const parsed = parseCapabilities(described.capabilities, facts);
  if (parsed.kind === 'error') {
    addon.close(opened.handle);
    return fail(2, `${path}: ${parsed.message}`);
  }
  const { name, driver } = described.device;
  const device: Device = { name, driver, sm: facts.sm === 0 ? 'host' : `sm_${facts.sm}` };
  return {
    kind: 'kernel',
    kernel: new NativeKernel(uri, device, parsed.capabilities, addon, opened.handle),
  };
}

export class NativeKernel implements Kernel {
  constructor(
    readonly uri: string,
    readonly device: Device,
    readonly capabilities: Capabilities,
    private readonly addon: Addon,
    private readonly handle: number,
  ) {}

  supports(c: Case): string | null {
    const reason = undeclared(this.capabilities, c);
    return reason ?? this.ownAnswer(c);
  }

  ownAnswer(c: Case): string | null {
    return this.addon.supports(this.handle, nativeProblem(c, c.options.splits));
  }

  answer(c: Case): string | null {
    try {
      return this.addon.supports(this.handle, nativeProblem(c, c.options.splits));
    } catch (error) {
      // Nothing that the C interface could express, such as an axis without a number.
      return error instanceof Error ? error.message : String(error);
    }
  }

  unrefused(c: Case): readonly Unrefused[] {
    return this.addon.unrefused(this.handle, nativeProblem(c, c.options.splits));
  }

  run(c: Case, inputs: Inputs, options: RunOptions): RunResult {
    const { poison, schedule, ownStream = false } = options;
    const { splits = c.options.splits, firstPage } = options;
    const problem = nativeProblem(c, splits, firstPage);
    const result = this.addon.run(this.handle, problem, nativeInputs(c, inputs), {
      poison,
      ownStream,
      dequantize: this.capabilities.dequantize === true,
      ...(schedule === undefined ? {} : { schedule }),
    });
    if (result.kind === 'ran') {
      return this.capabilities.emulated ? result : { ...result, scheduleHash: '' };
    }
    const reason = reasonWithReport(result);
    if (result.kind !== 'device-error') return { kind: result.kind, reason };
    return { kind: result.kind, reason, ...sourceOf(result.reports[0]) };
  }

  /** Seconds that one decode of a case takes, as the mean of so many. Throws if it cannot run. */
  decodeSeconds(c: Case, inputs: Inputs, decodes: number): number {
    const problem = nativeProblem(c, c.options.splits);
    const result = this.addon.run(this.handle, problem, nativeInputs(c, inputs), {
      ...{ poison: 0xff, decodes },
    });
    if (result.kind !== 'ran') throw new Error(`${this.uri}: ${reasonWithReport(result)}`);
    return (result.decodeSeconds ?? Number.NaN) / decodes;
  }

  /** One call of the clock; bench/device.ts has the requests and the answers. */
  bench(path: string, request: object): unknown {
    return this.addon.bench(this.handle, path, request);
  }

  /** One call of the native reference; native-reference.ts has the requests and the answers. */
  twin(path: string, request: object): unknown {
    return this.addon.twin(this.handle, path, request);
  }

  close(): void {
    this.addon.close(this.handle);
  }
}

/** A launch that the emulator stopped (a deadlock, say) is explained by the first thing it saw. */
function reasonWithReport({ reason, reports }: NativeFailure): string {
  const [first] = reports;
  if (first === undefined || reason.includes(first.text)) return reason;
  // The reason is what the report says, less where it happened.
  const report = `${first.kind}: ${first.text}`;
  return report.startsWith(reason) ? report : `${reason} (${report})`;
}
