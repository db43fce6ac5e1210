// study-options.ts - values of the options of `kvproof study`, parsed once, with one sentence for
// each mistake.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { headCommit, packageRoot } from '../campaign/package-root.js';
import { SafetensorsFile } from '../campaign/safetensors.js';
import { PROTOCOL, type Protocol } from '../studies/scored-windows.js';
import { parseCount, UsageError } from './arguments.js';

/** "a,b" as values of a list, in the order given and without repeats. */
export function listOf<T extends string | number>(
  option: string,
  text: string | undefined,
  known: readonly T[],
): readonly T[] {
  if (text === undefined) return known;
  const values = text.split(',').map((word) => {
    const value = known.find((each) => String(each) === word.trim());
    if (value !== undefined) return value;
    throw new UsageError(`${option}: "${word}" is not one of ${known.join(', ')}`);
  });
  return [...new Set(values)];
}

/** "8/8,4/2": widths of K and V. */
export function bitPairs(
  option: string,
  text: string | undefined,
  all: readonly (readonly [number, number])[],
): readonly (readonly [number, number])[] {
  if (text === undefined) return all;
  return text.split(',').map((word) => {
    const match = /^\s*([1-8]|16)\/([1-8]|16)\s*$/.exec(word);
    if (match !== null) return [Number(match[1]), Number(match[2])] as const;
    throw new UsageError(`${option}: "${word}" is not a pair of widths such as 4/2, 1 to 8 or 16`);
  });
}

/** That of the recorded loss, or with fewer scored tokens in a window. */
export function protocolFrom(scored: string | undefined): Protocol {
  if (scored === undefined) return PROTOCOL;
  return { ...PROTOCOL, scoredTokens: parseCount('--scored', scored, PROTOCOL.scoredTokens) };
}

/** At most as many as the evaluation tokens beside the weights are enough for. */
export function windowsFrom(
  text: string | undefined,
  otherwise: number,
  folder: string,
  { prefixTokens, scoredTokens }: Protocol,
): number {
  const path = join(folder, 'kv-q-eval.safetensors');
  const opened = SafetensorsFile.open(path);
  if (opened.kind === 'error') throw new UsageError(`--model: ${opened.message}`);
  const tokens = opened.file.tensors.get('eval_tokens')?.elements ?? 0;
  opened.file.close();
  const most = Math.floor((tokens - 1) / (prefixTokens + scoredTokens));
  return text === undefined ? otherwise : parseCount('--windows', text, most);
}

/** The folder with the weights of corpus/code-lm. */
export function modelFolder(path: string | undefined): string {
  const folder = path ?? join(packageRoot(), 'corpus', 'code-lm');
  const weights = join(folder, 'model-1.safetensors');
  if (existsSync(weights)) return folder;
  throw new UsageError(
    `--model: ${weights} does not exist; the weights are in the repository's corpus/code-lm, ` +
      'not in the npm package',
  );
}

/** The code that measures: HEAD of this package, or the version of an installed one. */
export function ownCommit(version: string): string {
  const commit = headCommit(packageRoot());
  return commit === 'unknown' ? version : commit;
}
