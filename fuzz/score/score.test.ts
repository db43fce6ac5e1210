// A score from the command line: mutants of one small source file, so that a build takes a second.
// What is checked is what a script that reads the JSON relies on.
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../campaign/package-root.js';
import { mutantFolder } from '../kernels/mutant.js';

const cli = join(packageRoot(), 'dist', 'fuzz', 'cli.js');
const work = mkdtempSync(join(tmpdir(), 'kvproof-score-'));
afterAll(() => rmSync(work, { recursive: true }));

function score(...args: string[]) {
  const json = join(work, 'score.json');
  rmSync(json, { force: true });
  const ran = spawnSync(
    process.execPath,
    [cli, 'score', '--seed', '1', '--workers', '1', '--workdir', work, '--json', json, ...args],
    { encoding: 'utf8' },
  );
  const result = existsSync(json) ? JSON.parse(readFileSync(json, 'utf8')) : null;
  return { status: ran.status, stderr: ran.stderr, result };
}

/** A mutant file of the test's own, edited from one of the project. */
function mutantFrom(id: string, change: object): string {
  const source = JSON.parse(readFileSync(join(mutantFolder(), `${id}.json`), 'utf8'));
  const path = join(work, `changed-${id}.json`);
  writeFileSync(path, JSON.stringify({ ...source, id: `changed-${id}`, ...change }));
  return path;
}

describe('kvproof score', () => {
  it('kills a mutant from anywhere and says by what, how fast and how small', () => {
    const path = join(work, 'combine-ignores-weights.json');
    copyFileSync(join(mutantFolder(), 'combine-ignores-weights.json'), path);
    const { status, result } = score('--mutants', path, '--oracle', 'mse-1', '--time', '60s');
    expect(status).toBe(0);
    expect(result).toMatchObject({ schema: 'kvproof.score/1', seed: 1, kernel: 'sim:sm_90' });
    expect(result).toMatchObject({ killed: 1, survived: 0, falsePositives: 0 });
    // A limit that knows no magnitude may reject the clean kernel too: counted, not required.
    const rule = { total: 1, falsePositives: expect.any(Number) };
    expect(result.byOracle['mse-1']).toMatchObject(rule);
    expect(result.mutants[0]).toMatchObject({
      ...{ id: 'combine-ignores-weights', class: 'split-combine', status: 'killed' },
      shrunk: { requests: 1, kvHeads: 1, queryHeads: 1 },
    });
    expect(result.mutants[0].shrunk.tokens).toBeLessThanOrEqual(257);
    expect(result.mutants[0].cases).toBeGreaterThan(0);
  }, 240_000);

  it('tells a mutant that does not compile from one that survives, and is red for both', () => {
    const [edit] = JSON.parse(
      readFileSync(join(mutantFolder(), 'combine-ignores-weights.json'), 'utf8'),
    ).edits;
    const paths = [
      mutantFrom('combine-ignores-weights', { edits: [{ ...edit, replace: 'no C++' }] }),
      mutantFrom('combine-sum-not-weighted', {
        edits: [{ ...edit, replace: `${edit.find} /* the same */` }],
      }),
    ];
    const { status, result } = score('--mutants', ...paths, '--time', '2s', '--checked', 'never');
    expect(status).toBe(1);
    expect(result.mutants.map((m: { status: string }) => m.status)).toEqual([
      'build-failed',
      'survived',
    ]);
  }, 240_000);

  it.each([
    [['--kernel', 'ref:'], /--kernel: .*mutants are built as sim:/],
    [['--oracle', 'guess'], /--oracle: there is no "guess"/],
    [['--checked', 'maybe'], /--checked: "maybe" is not one of/],
    [['--mutants', '/nowhere/*.json'], /matches no \.json file/],
  ])('refuses %j with one sentence', (args, sentence) => {
    const { status, stderr } = score(...args);
    expect(status).toBe(2);
    expect(stderr).toMatch(sentence);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });
});
