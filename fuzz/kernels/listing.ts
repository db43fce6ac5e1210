// listing.ts - what can be opened on this machine, for `kvproof kernels`.
//
// Looking for GPUs opens each one for a moment, so this too runs in a worker process. Emulated
// kernels and mutants are looked for as files only.

import { builtLibrary, CUDA_REMEDY } from './built-library.js';
import { listMutants } from './mutant.js';
import { BUILD_DESCRIPTION } from './mutant-build.js';
import { openNative } from './native.js';
import { ARCHITECTURES } from './uri.js';

export interface KernelListing {
  readonly uri: string;
  readonly available: boolean;
  /** What it is, or what it lacks. */
  readonly detail: string;
}

export function listKernels(): KernelListing[] {
  return [
    ...emulated(),
    ...cudaDevices(),
    { uri: 'ref:', available: true, detail: 'the TypeScript reference, float64' },
    ...mutants(),
  ];
}

function emulated(): KernelListing[] {
  const addon = builtLibrary('kvproof.node');
  const plain = builtLibrary('libkvproof_sim.so');
  const checked = builtLibrary('libkvproof_sim_checked.so');
  const missing = [addon, plain].find((library) => library.kind === 'error');
  return ARCHITECTURES.map((architecture) => ({
    uri: `sim:${architecture}`,
    available: missing === undefined,
    detail:
      missing?.kind === 'error'
        ? missing.message
        : `emulated kernels${checked.kind === 'path' ? ', also --checked' : ''}`,
  }));
}

function cudaDevices(): KernelListing[] {
  const library = builtLibrary('libkvproof_cuda.so', CUDA_REMEDY);
  if (library.kind === 'error') {
    return [{ uri: 'cuda:0', available: false, detail: library.message }];
  }
  const found: KernelListing[] = [];
  for (let ordinal = 0; ; ordinal++) {
    const uri = `cuda:${ordinal}`;
    const opened = openNative({ uri, path: library.path, ordinal, sm: 0 });
    if (opened.kind === 'error') {
      // The first ordinal that does not answer ends the search; without any, it is the answer.
      if (ordinal > 0) return found;
      return [{ uri, available: false, detail: opened.message }];
    }
    const { name, sm, driver } = opened.kernel.device;
    opened.kernel.close();
    found.push({ uri, available: true, detail: `${name}, ${sm}, ${driver}` });
  }
}

function mutants(): KernelListing[] {
  const build = builtLibrary(BUILD_DESCRIPTION);
  return listMutants().map((entry) => {
    const uri = `mutant:${entry.id}`;
    if (entry.kind === 'error') return { uri, available: false, detail: entry.message };
    return {
      uri,
      available: build.kind === 'path',
      detail: build.kind === 'path' ? entry.mutant.story : build.message,
    };
  });
}
