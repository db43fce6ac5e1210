// uri.ts - kernel URIs: what each form means, and one sentence for a text that is none of them.
//
//   sim:sm_80, sim:sm_89, sim:sm_90   our kernels on the emulator, with that architecture's
//                                     arithmetic
//   cuda:N                            our kernels on CUDA device N
//   lib:PATH                          a shared library with the interface of kernel_abi.h
//   exec:COMMAND                      a process that speaks the protocol of native/plugin/README.md
//   ref:                              the TypeScript reference
//   mutant:ID                         a seeded bug: native/mutants/ID.json, or a mutant file's path
//
// Parsing touches neither disk nor device.

import { isAbsolute, resolve } from 'node:path';

export const ARCHITECTURES = ['sm_80', 'sm_89', 'sm_90'] as const;
export type SimulatedArchitecture = (typeof ARCHITECTURES)[number];

/** More ordinals than any machine has; the device itself says how many there are. */
const ORDINAL_MAX = 1023;

export const URI_FORMS =
  `${ARCHITECTURES.map((name) => `sim:${name}`).join(', ')}, ` +
  'cuda:N, lib:PATH, exec:COMMAND, ref: and mutant:ID';

export type KernelUri =
  | { kind: 'sim'; architecture: SimulatedArchitecture }
  | { kind: 'cuda'; ordinal: number }
  /** path is absolute. */
  | { kind: 'lib'; path: string }
  | { kind: 'exec'; command: string }
  | { kind: 'ref' }
  /** Either the name of a file in native/mutants or the absolute path of a mutant file. */
  | { kind: 'mutant'; id: string }
  | { kind: 'mutant-file'; path: string }
  | { kind: 'error'; message: string };

export function parseUri(uri: string): KernelUri {
  const colon = uri.indexOf(':');
  const scheme = colon < 0 ? uri : uri.slice(0, colon);
  const rest = colon < 0 ? '' : uri.slice(colon + 1);
  const fail = (why: string): KernelUri => ({
    kind: 'error',
    message: `kernel ${JSON.stringify(uri)}: ${why}`,
  });
  // A NUL would end the text for C and not for JavaScript.
  if (colon < 0 || uri.includes('\0')) return fail(`not a kernel URI, use ${URI_FORMS}`);
  switch (scheme) {
    case 'sim': {
      const architecture = ARCHITECTURES.find((name) => name === rest);
      if (architecture !== undefined) return { kind: 'sim', architecture };
      return fail(`${ARCHITECTURES.join(', ')} are emulated, not ${JSON.stringify(rest)}`);
    }
    case 'cuda': {
      const valid = /^(0|[1-9]\d{0,3})$/.test(rest) && Number(rest) <= ORDINAL_MAX;
      return valid ? { kind: 'cuda', ordinal: Number(rest) } : fail('a device number is required');
    }
    case 'lib':
      return rest === ''
        ? fail('the path of a shared library is required')
        : { kind: 'lib', path: isAbsolute(rest) ? rest : resolve(rest) };
    case 'ref':
      return rest === '' ? { kind: 'ref' } : fail('nothing may follow "ref:"');
    case 'mutant':
      if (/^[a-z0-9]+(-[a-z0-9]+)*$/.test(rest)) return { kind: 'mutant', id: rest };
      if (rest.endsWith('.json')) return { kind: 'mutant-file', path: resolve(rest) };
      return fail('an id such as v-zero-dropped, or the path of a .json file, is required');
    case 'exec':
      return rest.trim() === ''
        ? fail('the command of a kernel in its own process is required')
        : { kind: 'exec', command: rest };
    default:
      return fail(`${JSON.stringify(scheme)} is not a kind of kernel, use ${URI_FORMS}`);
  }
}
