// doctor - what this environment has, what it lacks, and what each thing is needed for. Exit code 0
// when the emulated kernel can run, which is all that `kvproof verify` needs; else 3.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { headCommit, packageRoot } from '../campaign/package-root.js';
import type { Workdir } from '../campaign/workdir.js';
import { WorkerProcess } from '../campaign/worker-process.js';
import { BUILD_COMMAND } from '../kernels/built-library.js';
import { type Check, doctorLines } from '../report/environment.js';
import { print } from '../report/writer.js';
import { workdirFrom } from './arguments.js';

export async function doctor(flags: { json: boolean }): Promise<number> {
  const startedAt = Date.now();
  const workdir = workdirFrom('.kvproof');
  const emulated = await opens('sim:sm_90', 'emulated kernel', workdir, {
    need: `everything without a GPU: ${BUILD_COMMAND}`,
    required: true,
  });
  const builds = existsSync(join(packageRoot(), 'CMakeLists.txt')); // not in an archive
  const checks: Check[] = [
    // An older one ends in node-version.ts.
    { name: 'Node', ok: true, found: process.version, need: 'everything', required: true },
    ...(builds ? toolChecks() : []),
    builtCheck('addon', 'kvproof.node', true),
    builtCheck('emulator', 'libkvproof_sim.so', true),
    builtCheck('checked emulator', 'libkvproof_sim_checked.so', false),
    emulated,
    ...(builds ? [toolkitCheck()] : []),
    builtCheck('CUDA kernels', 'libkvproof_cuda.so', false),
    await opens('cuda:0', 'GPU', workdir, {
      need: 'running the kernels on a GPU: an NVIDIA driver and a device of sm_80, sm_89 or sm_90',
      required: false,
    }),
    corpusCheck(),
  ];
  const exitCode = emulated.ok ? 0 : 3;
  if (flags.json) {
    const result = {
      schema: 'kvproof.doctor/1',
      seed: null,
      kernel: null,
      device: null,
      commit: headCommit(process.cwd()),
      elapsedMs: Date.now() - startedAt,
      exitCode,
      checks,
    };
    print(JSON.stringify(result, null, 2));
  } else {
    print(...doctorLines(checks));
  }
  return exitCode;
}

function toolChecks(): Check[] {
  const need = 'building kernels and mutants: g++ 12';
  return [
    programCheck('C++ compiler', compilers(), ['--version'], need),
    programCheck('CMake', ['cmake'], ['--version'], 'building kernels: cmake 3.25'),
    programCheck('make', ['make'], ['--version'], 'building kernels: make'),
  ];
}

function toolkitCheck(): Check {
  const need = 'building the kernels for a GPU: nvcc';
  return programCheck('CUDA toolkit', nvccs(), ['--version'], need);
}

function compilers(): string[] {
  const { CXX } = process.env; // what CMake takes
  return [...(CXX === undefined ? [] : [CXX]), 'c++', 'g++', 'clang++'];
}

function nvccs(): string[] {
  return ['nvcc', '/usr/local/cuda/bin/nvcc'];
}

/**
 * The first of `programs` that runs; found is the line of its output that has a number of a
 * version.
 */
function programCheck(
  name: string,
  programs: readonly string[],
  args: readonly string[],
  need: string,
): Check {
  for (const program of programs) {
    const result = spawnSync(program, args, { encoding: 'utf8', timeout: 20_000 });
    if (result.error !== undefined || result.status !== 0) continue;
    const lines = result.stdout.split('\n');
    const found = lines.find((line) => /release|\d+\.\d+/.test(line)) ?? lines[0];
    return { name, ok: true, found: `${program}: ${found.trim()}`, need, required: false };
  }
  return { name, ok: false, found: `no ${programs.join(', ')}`, need, required: false };
}

function builtCheck(name: string, file: string, required: boolean): Check {
  const path = join('build', 'Release', file);
  const ok = existsSync(join(packageRoot(), path));
  const need =
    name === 'CUDA kernels'
      ? `running on a GPU: ${BUILD_COMMAND} where nvcc is found`
      : `running emulated kernels: ${BUILD_COMMAND}`;
  return { name, ok, found: ok ? path : `no ${path}`, need, required };
}

function corpusCheck(): Check {
  const files = ['kv-k', 'kv-v', 'kv-q-eval'].map((name) => `corpus/code-lm/${name}.safetensors`);
  const missing = files.filter((file) => !existsSync(join(packageRoot(), file)));
  return {
    name: 'real KV cache',
    ok: missing.length === 0,
    found: missing.length === 0 ? 'corpus/code-lm' : `no ${missing.join(', ')}`,
    need: 'cases cut from a trained model: comes with the package',
    required: true,
  };
}

async function opens(
  uri: string,
  name: string,
  workdir: Workdir,
  rest: Pick<Check, 'need' | 'required'>,
): Promise<Check> {
  const opened = await WorkerProcess.open({ uri, checked: false, workdir, slot: 0 });
  if (opened.kind === 'error') return { name, ok: false, found: opened.message, ...rest };
  await opened.worker.kill();
  const { device } = opened.hello;
  return {
    name,
    ok: true,
    found: `${uri} opens: ${device.name}, ${device.sm}, driver ${device.driver}`,
    ...rest,
  };
}
