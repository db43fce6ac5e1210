// built-library.ts - where the build puts what it makes, and what to say when it is not there.

import { existsSync, readFileSync } from 'node:fs';
import { join, sep } from 'node:path';
import { packageRoot } from '../campaign/package-root.js';

/** Everything native is built here, relative to the package (the default of cmake-js). */
export const BUILD_FOLDER = join('build', 'Release');

/** What builds it: in a clone, or in a project that has installed the package. */
export const BUILD_COMMAND = packageRoot().split(sep).includes('node_modules')
  ? `node ${join(packageRoot(), 'native', 'install.mjs')}`
  : 'npm run build';
export const BUILD_REMEDY = `build it with \`${BUILD_COMMAND}\``;
/** Without nvcc the build leaves the CUDA library out. */
export const CUDA_REMEDY = `${BUILD_REMEDY} on a machine with nvcc`;

/** What native/install.mjs left in place of a build: the sentence with the way out. */
function failedBuild(): string | null {
  const path = join(packageRoot(), BUILD_FOLDER, 'build-error.txt');
  if (!existsSync(path)) return null;
  return readFileSync(path, 'utf8')
    .split('\n', 1)[0]
    .replace(/^kvproof: /, '');
}

/** Path of a file of the build, or the sentence that says how it is made. */
export function builtLibrary(
  name: string,
  remedy = BUILD_REMEDY,
): { kind: 'path'; path: string } | { kind: 'error'; message: string } {
  const path = join(packageRoot(), BUILD_FOLDER, name);
  return existsSync(path)
    ? { kind: 'path', path }
    : { kind: 'error', message: `${path}: not found, ${failedBuild() ?? remedy}` };
}
