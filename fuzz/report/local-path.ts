// local-path.ts - a path as a reader of the repository knows it: relative to the working directory,
// with forward slashes. A mutant is compiled from a copy of native/, so what lies in a folder of
// that name is named from there.

import { isAbsolute, relative } from 'node:path';

export function localPath(path: string): string {
  const local = isAbsolute(path) ? relative(process.cwd(), path) : path;
  const slashes = local.replaceAll('\\', '/');
  const copied = /(?:^|\/)(native\/(?:kernels|simt|mma|host|plugin)\/.*)$/.exec(slashes);
  return copied === null ? slashes : copied[1];
}
