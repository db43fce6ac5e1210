// Formatting of the native sources by clang-format (.clang-format): checks, or with --write
// rewrites. Where clang-format is not installed it says so and exits with 0; the check counts that
// as skipped.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const write = process.argv.includes('--write');

/** @returns {string[]} */
function nativeSources(/** @type {string} */ folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return nativeSources(path);
    return /\.(h|c|cpp|cu)$/.test(entry.name) ? [relative(root, path)] : [];
  });
}

const files = nativeSources(join(root, 'native')).sort();
const mode = write ? ['-i'] : ['--dry-run', '--Werror'];
const result = spawnSync('clang-format', [...mode, '--style=file', ...files], {
  cwd: root,
  stdio: ['ignore', 'inherit', 'inherit'],
});
if (result.error !== undefined) {
  console.log('clang-format not found: native formatting not checked');
  process.exit(0);
}
if (result.status === 0) {
  console.log(`${files.length} native files ${write ? 'formatted' : 'in format'}`);
}
process.exit(result.status ?? 1);
