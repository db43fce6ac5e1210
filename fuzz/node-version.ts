// node-version.ts - imported by cli.ts before everything else: a Node that is older than
// package.json asks for would end later, in the words of a method that it does not have.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from './campaign/package-root.js';
import { tell } from './report/writer.js';

const manifest = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8'));
const least: string = manifest.engines.node.replace('>=', '');
if (process.version.slice(1).localeCompare(least, 'en', { numeric: true }) < 0) {
  tell(`kvproof: Node ${process.version.slice(1)} was found, ${least} or newer is required`);
  process.exit(3); // of the table in README.md: the environment
}
