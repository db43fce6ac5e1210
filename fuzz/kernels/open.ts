// open.ts - URI to Kernel: the one place that knows which library answers to which URI.
//
// Called in worker processes only: opening loads native code. Opening a mutant compiles it first,
// which takes seconds the first time. Nothing here prints or exits; the caller turns `exitCode`
// into the end of the command (2: the request is wrong, 3: the environment lacks something).

import { join } from 'node:path';
import { builtLibrary, CUDA_REMEDY } from './built-library.js';
import { openExec } from './exec.js';
import { mutantFolder, readMutant } from './mutant.js';
import { buildMutant } from './mutant-build.js';
import { type OpenResult, openNative } from './native.js';
import { openReference } from './reference.js';
import { parseUri, type SimulatedArchitecture } from './uri.js';

export { type KernelListing, listKernels } from './listing.js';
export type { OpenResult } from './native.js';

/** `checked`: every access of the kernel is checked; exists for emulated kernels only. */
export function openKernel(uri: string, options: { checked: boolean }): OpenResult {
  const parsed = parseUri(uri);
  const { checked } = options;
  switch (parsed.kind) {
    case 'error':
      return { kind: 'error', exitCode: 2, message: parsed.message };
    case 'sim':
      return openEmulated(uri, parsed.architecture, checked);
    case 'mutant':
      return openMutant(uri, join(mutantFolder(), `${parsed.id}.json`), checked);
    case 'mutant-file':
      return openMutant(uri, parsed.path, checked);
    default:
      if (checked) return uncheckable(uri);
  }
  switch (parsed.kind) {
    case 'ref':
      return { kind: 'kernel', kernel: openReference() };
    case 'exec':
      return openExec(uri, parsed.command);
    case 'lib':
      return openNative({ uri, path: parsed.path, ordinal: 0, sm: 0 });
    case 'cuda':
      return openCuda(uri, parsed.ordinal);
  }
}

function uncheckable(uri: string): OpenResult {
  const message = `${uri}: only emulated kernels (sim:, mutant:) can run with --checked`;
  return { kind: 'error', exitCode: 2, message };
}

/** 90 of "sm_90". */
export function computeCapability(architecture: SimulatedArchitecture): number {
  return Number(architecture.slice('sm_'.length));
}

function openEmulated(
  uri: string,
  architecture: SimulatedArchitecture,
  checked: boolean,
): OpenResult {
  const library = builtLibrary(checked ? 'libkvproof_sim_checked.so' : 'libkvproof_sim.so');
  if (library.kind === 'error') {
    return { kind: 'error', exitCode: 3, message: `${uri}: ${library.message}` };
  }
  return openNative({ uri, path: library.path, ordinal: 0, sm: computeCapability(architecture) });
}

function openCuda(uri: string, ordinal: number): OpenResult {
  const library = builtLibrary('libkvproof_cuda.so', CUDA_REMEDY);
  if (library.kind === 'error') {
    return { kind: 'error', exitCode: 3, message: `${uri}: ${library.message}` };
  }
  return openNative({ uri, path: library.path, ordinal, sm: 0 });
}

function openMutant(uri: string, path: string, checked: boolean): OpenResult {
  const read = readMutant(path);
  if (read.kind === 'error') {
    return { kind: 'error', exitCode: 2, message: `${uri}: ${read.message}` };
  }
  const built = buildMutant(read.mutant, { checked });
  if (built.kind !== 'built') {
    // A mutant that does not fit the sources is a wrong request; one that cannot be compiled for
    // want of a compiler or a build is the environment's fault.
    const exitCode = built.kind === 'no-build' ? 3 : 2;
    return { kind: 'error', exitCode, message: `${uri}: ${built.message}` };
  }
  const sm = computeCapability(read.mutant.architecture);
  return openNative({ uri, path: built.path, ordinal: 0, sm });
}
