// kvproof/vitest as a user calls it: a right kernel object gives a green suite. That a wrong kernel
// turns the suite red is tested from outside, in a vitest of its own: a failing test cannot be
// expected from within.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ReferenceKernel } from '../properties/reference-kernel.js';
import { packageRoot } from './campaign/package-root.js';
import { describeKernel } from './vitest.js';

describeKernel(new ReferenceKernel(), { runs: 4, seed: 3, properties: ['error-bound', 'needle'] });

describe('a suite of its own', () => {
  it('is red for a kernel that is wrong, at the property that sees it', () => {
    mkdirSync(join(packageRoot(), '.kvproof'), { recursive: true });
    const folder = mkdtempSync(join(packageRoot(), '.kvproof', 'suite-'));
    try {
      const path = join(folder, 'wrong.test.ts');
      writeFileSync(
        path,
        [
          "import { describeKernel } from '../../fuzz/vitest.js';",
          "import { ReferenceKernel } from '../../properties/reference-kernel.js';",
          "import { SpoiledKernel } from '../../properties/spoiled-kernel.js';",
          "describeKernel(new SpoiledKernel(new ReferenceKernel(), 'zero-output'), {",
          "  runs: 3, properties: ['error-bound'] });",
        ].join('\n'),
      );
      writeFileSync(join(folder, 'vitest.config.mjs'), 'export default {};\n');
      const json = join(folder, 'result.json');
      const own = Object.entries(process.env).filter(([name]) => !name.startsWith('VITEST'));
      const ran = spawnSync(
        join(packageRoot(), 'node_modules/.bin/vitest'),
        ['run', '--root', folder, '--reporter=json', `--outputFile=${json}`],
        { cwd: packageRoot(), encoding: 'utf8', env: Object.fromEntries(own) },
      );
      const report = JSON.parse(readFileSync(json, 'utf8'));
      expect(ran.status).toBe(1);
      expect(report.numFailedTests, ran.stderr).toBe(1);
      expect(report.testResults[0].assertionResults[0].title).toBe('error-bound');
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('refuses a property that does not exist', () => {
    expect(() => describeKernel('sim:sm_90', { properties: ['error-bund'] })).toThrow(
      'there is no "error-bund"',
    );
  });
});
