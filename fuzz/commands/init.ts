// init - writes a kernel that runs, as a file to put one's own kernel into: a template, what it
// needs beside it, a first case, and the commands to try. Nothing that exists is overwritten.

import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { CASE_SCHEMA } from '../../properties/case.js';
import { packageRoot } from '../campaign/package-root.js';
import { print } from '../report/writer.js';
import { commandLine, UsageError } from './arguments.js';

export interface InitFlags {
  kind: string;
  name: string;
}

interface Kind {
  /** One of native/plugin/templates. */
  readonly template: string;
  /** Files of native/plugin that the template needs beside it. */
  readonly beside: readonly string[];
  readonly scheme: object;
  /** Of the kernel in a folder, as seen from here. */
  uri(folder: string): string;
  /** What makes the kernel out of the file, or null. */
  build(folder: string): string | null;
}

/** A process: nothing is built. */
function inPython(template: string, ...beside: string[]): Kind {
  return {
    template,
    beside: ['python/kvproof.py', ...beside],
    scheme: { format: 'llama-q8_0', kAxis: 'token', bits: 8, group: 32 },
    uri: (folder) => `exec:python3 ${folder}/${template}`,
    build: () => null,
  };
}

/** A shared library of one source. */
function library(template: string, compiler: string, ...beside: string[]): Kind {
  return {
    template,
    beside: ['kernel_abi.h', 'templates/records.h', ...beside],
    scheme: { format: 'bitdecoding', kAxis: 'token', bits: 8, group: 128 },
    uri: (folder) => `lib:${folder}/kernel.so`,
    build: (folder) => `${compiler} -o ${folder}/kernel.so ${folder}/${template}`,
  };
}

const NVCC = 'nvcc -O2 -std=c++20 -arch=native -shared -Xcompiler -fPIC';

const KINDS: Readonly<Record<string, Kind>> = {
  python: inPython('kernel.py'),
  pytorch: {
    ...inPython('torch_kernel.py', 'templates/torch_kernel.cpp'),
    // Compiling can take longer than a process may take to say hello.
    build: (folder) => `python3 ${folder}/torch_kernel.py < /dev/null`,
  },
  triton: inPython('triton_kernel.py'),
  cpp: library('kernel.cpp', 'g++ -O2 -std=c++20 -shared -fPIC'),
  cuda: library('kernel.cu', NVCC, 'stream_abi.h', 'cuda_memory.h'),
};

/** A request of a record and a few tokens, normal numbers, in the template's format. */
function firstCase(scheme: object): string {
  const normal = (seed: number) => ({ distribution: 'normal', seed, scale: 0, offset: 0 });
  const c = {
    schema: CASE_SCHEMA,
    problem: { tokens: [131, 1], queryHeads: 4, kvHeads: 2, headSize: 128 },
    scheme,
    tensors: { q: normal(1), k: normal(2), v: normal(3) },
    options: { softmaxScale: Math.fround(1 / Math.sqrt(128)), splits: 0 },
  };
  return `${JSON.stringify(c, null, 2)}\n`;
}

export function init(folder: string, { kind: name, name: title }: InitFlags): number {
  const kind = Object.hasOwn(KINDS, name) ? KINDS[name] : undefined;
  if (kind === undefined) {
    const kinds = Object.keys(KINDS).join(', ');
    throw new UsageError(`--kind: "${name}" is not one of ${kinds}`);
  }
  if (!/^[\w .,+-]{1,60}$/.test(title)) {
    throw new UsageError('--name: letters, digits, spaces and . , + - only, at most 60 of them');
  }
  const plugin = join(packageRoot(), 'native', 'plugin');
  const files = new Map<string, string>([
    [kind.template, readFileSync(join(plugin, 'templates', kind.template), 'utf8')],
    ['first-case.json', firstCase(kind.scheme)],
  ]);
  const besides = kind.beside.map((path) => ({ path, file: path.split('/').at(-1) ?? path }));
  const taken = [...files.keys(), ...besides.map(({ file }) => file)].find((file) =>
    existsSync(join(folder, file)),
  );
  if (taken !== undefined) throw new UsageError(`${join(folder, taken)}: exists, it is left alone`);
  mkdirSync(folder, { recursive: true });
  for (const [file, text] of files) {
    const own = text.replaceAll('KERNEL_NAME', title).replaceAll('-I KVPROOF_INCLUDE ', '');
    writeFileSync(join(folder, file), own);
  }
  for (const { path, file } of besides) copyFileSync(join(plugin, path), join(folder, file));
  const here = relative(process.cwd(), folder) || '.';
  const [uri, build] = [kind.uri(here), kind.build(here)];
  print(
    `wrote ${[...files.keys(), ...besides.map(({ file }) => file)].join(', ')} to ${here}`,
    '',
    ...(build === null ? [] : [`  ${build}`]),
    `  ${commandLine('conform', uri)}`,
    `  ${commandLine('replay', join(here, 'first-case.json'), '--kernel', uri)}`,
    `  ${commandLine('verify', '--kernel', uri, '--time', '60s')}`,
  );
  return 0;
}
