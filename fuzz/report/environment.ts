// environment.ts - the tables of `kvproof kernels` and `kvproof doctor`.

import pc from 'picocolors';
import type { Hello } from '../campaign/worker-process.js';
import type { KernelListing } from '../kernels/open.js';
import { count } from './failure.js';

export interface ListedKernel extends KernelListing {
  /** null: not available, or not opened. */
  readonly hello: Hello | null;
}

export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** What was found. */
  readonly found: string;
  /** What it is needed for, and how it comes there. */
  readonly need: string;
  /** Without it the emulated kernel cannot run. */
  readonly required: boolean;
}

/** Mutants in one line, where each can be built: there are hundreds, and they hid the rest. */
export function kernelLines(kernels: readonly ListedKernel[]): string[] {
  const isSeeded = ({ uri, available }: ListedKernel) => available && uri.startsWith('mutant:');
  const seeded = kernels.filter(isSeeded).length;
  const detail = `${count(seeded, 'seeded bug')} of native/mutants, each named by --json`;
  const one = { uri: 'mutant:ID', available: true, detail, hello: null };
  return linesOf([...kernels.filter((kernel) => !isSeeded(kernel)), ...(seeded > 0 ? [one] : [])]);
}

function linesOf(kernels: readonly ListedKernel[]): string[] {
  const width = Math.max(...kernels.map(({ uri }) => uri.length));
  return kernels.flatMap(({ uri, available, detail, hello }) => {
    const mark = available ? pc.green('yes') : pc.red('no ');
    const lines = [`${uri.padEnd(width)}  ${mark}  ${detail}`];
    if (hello === null) return lines;
    const indent = ' '.repeat(width + 7);
    const { capabilities } = hello;
    for (const { format, kAxis, bits, groups, headSizes } of capabilities.formats) {
      lines.push(
        `${indent}${format}: K by ${kAxis.join(' or ')}, ${bits.join(' or ')} bits, ` +
          `groups ${groups.join(', ')}, head size ${headSizes.join(', ')}`,
      );
    }
    lines.push(
      `${indent}up to ${capabilities.tokensMax} tokens, ` +
        `up to ${capabilities.headsPerKvMax} query heads for each KV head`,
    );
    return lines;
  });
}

export function doctorLines(checks: readonly Check[]): string[] {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const lines = checks.flatMap(({ name, ok, found, need, required }) => {
    const mark = ok ? pc.green('ok') : required ? pc.red('no') : pc.yellow('no');
    const line = `${mark}  ${name.padEnd(width)}  ${found}`;
    return ok ? [line] : [line, `${' '.repeat(width + 6)}needed for ${need}`];
  });
  const missing = checks.filter(({ ok, required }) => !ok && required);
  const verdict =
    missing.length === 0
      ? pc.green('kvproof verify can run')
      : pc.red(`kvproof verify cannot run without: ${missing.map(({ name }) => name).join(', ')}`);
  return [...lines, '', verdict];
}
