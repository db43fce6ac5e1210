// `kvproof verify` as a gate sees it: exit codes and files. The wrong kernel is a mutant whose
// fault the emulator names by its line: lanes take part in a shuffle whose mask leaves them out.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../campaign/package-root.js';

const cli = join(packageRoot(), 'dist', 'fuzz', 'cli.js');
const work = mkdtempSync(join(tmpdir(), 'kvproof-verify-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

const inWork = (name: string) => join(work, name);
const text = (name: string) => readFileSync(inWork(name), 'utf8');

const reports = ['--json', 'out.json', '--junit', 'out.xml', '--sarif', 'out.sarif'];
const environment = {
  ...process.env,
  ...{ GITHUB_ACTIONS: 'true', GITHUB_STEP_SUMMARY: inWork('summary.md'), NO_COLOR: '1' },
};

function verify(...args: string[]) {
  const options = { cwd: work, encoding: 'utf8', env: environment } as const;
  return spawnSync(process.execPath, [cli, 'verify', '--seed', '1', ...reports, ...args], options);
}

/** Attributes of the outermost element of the JUnit file. */
function junitCounts(): Record<string, number> {
  const suites = /<testsuites ([^>]*)>/.exec(text('out.xml'))?.[1] ?? '';
  const pairs = [...suites.matchAll(/(\w+)="([\d.]+)"/g)];
  return Object.fromEntries(pairs.map(([, name, value]) => [name, Number(value)]));
}

/** Green reports of an earlier run, which a gate must never see again. */
function plantStaleReports(): void {
  writeFileSync(inWork('out.json'), '{"exitCode": 0}');
  writeFileSync(inWork('out.xml'), '<testsuites tests="1" failures="0" errors="0"/>');
  writeFileSync(inWork('out.sarif'), '{}');
}

const kernelFile = 'native/kernels/combine.cu';
const rightLine = '    largest = dev::max_num(largest, dev::shfl_xor(largest, offset));\n';

function plantMutant(): { path: string; line: number } {
  const source = readFileSync(join(packageRoot(), kernelFile), 'utf8');
  const line = source.slice(0, source.indexOf(rightLine)).split('\n').length;
  const mutant = {
    id: 'partial-mask',
    ...{ class: 'concurrency', story: 'Lanes from 16 on are taken for idle.' },
    precedent: 'none known',
    edits: [
      {
        ...{ file: kernelFile, find: rightLine },
        replace: rightLine.replace('offset)', 'offset, 0xffff)'),
      },
    ],
  };
  const path = inWork('partial-mask.json');
  writeFileSync(path, JSON.stringify(mutant));
  return { path, line };
}

describe('a kernel with a planted bug', () => {
  const { path, line } = plantMutant();
  const planted = [
    ...['--kernel', `mutant:${path}`, '--property', 'exact-codes'],
    ...['--time', '8s', '--workers', '1', '--shrink-time', '3s'],
  ];

  it("is red, with an annotation on the line of the kernel's source", () => {
    plantStaleReports();
    const { status, stdout, stderr } = verify(...planted);
    expect(status, stderr).toBe(1);
    expect(stdout).toContain(`::error file=${kernelFile},line=${line},title=`);
    expect(junitCounts().failures).toBeGreaterThan(0);
    expect(text('out.xml')).toContain('<failure type="run/');
    const [finding] = JSON.parse(text('out.json')).findings;
    expect(finding).toMatchObject({ new: true, source: { file: kernelFile, line } });
    const [{ results }] = JSON.parse(text('out.sarif')).runs;
    expect(results[0]).toMatchObject({
      ...{ level: 'error', baselineState: 'new' },
      locations: [{ physicalLocation: { region: { startLine: line } } }],
    });
    const summary = text('summary.md');
    expect(summary).toContain('### ❌ kvproof: ');
    expect(summary).toContain(`<code>${kernelFile}:${line}</code>`);
  }, 240_000);

  it('is green again once the finding is known', () => {
    const { status, stdout, stderr } = verify(...planted, '--baseline', 'corpus/findings');
    expect(status, `${stdout}${stderr}`).toBe(0);
    expect(stdout).toContain('known from the baseline');
    expect(stdout).toContain(`::notice file=${kernelFile},line=${line},`);
    expect(stdout).not.toContain('::error');
    expect(junitCounts()).toMatchObject({ failures: 0, errors: 0 });
  }, 240_000);
});

describe('a run that says nothing is never green', () => {
  it('zero cases', () => {
    // So short that it is over when it begins: within a millisecond a quick machine starts a case.
    const { status, stdout } = verify('--kernel', 'ref:', '--time', `0.${'0'.repeat(18)}1s`);
    expect(stdout).toContain('no case ran, which is not a pass');
    expect(status).toBe(3);
    expect(junitCounts()).toMatchObject({ failures: 0, errors: 1 });
    expect(JSON.parse(text('out.json'))).toMatchObject({ exitCode: 3, cases: 0 });
    expect(text('summary.md')).toContain('### ❌ kvproof: no case ran');
  }, 60_000);

  it('no device', () => {
    plantStaleReports();
    const { status, stderr } = verify('--kernel', 'cuda:63');
    expect(status).toBe(3);
    expect(junitCounts()).toMatchObject({ tests: 1, errors: 1 });
    expect(text('out.xml')).toContain('cuda:63');
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(existsSync(inWork('out.json'))).toBe(false);
  }, 60_000);

  it('wrong usage', () => {
    plantStaleReports();
    expect(verify('--kernel', 'ref:', '--time', 'soon').status).toBe(2);
    expect(junitCounts()).toMatchObject({ tests: 1, errors: 1 });
  });

  it('the runner killed in the middle', async () => {
    plantStaleReports();
    const args = [cli, 'verify', '--kernel', 'ref:', '--time', '60s', ...reports];
    const child = spawn(process.execPath, args, { cwd: work, env: environment });
    await new Promise<void>((resolve) => {
      child.stdout.on('data', (chunk) => String(chunk).includes('plan:') && resolve());
    });
    child.kill('SIGKILL');
    await new Promise((resolve) => child.on('exit', resolve));
    expect(junitCounts()).toMatchObject({ tests: 1, errors: 1 });
    expect(text('out.xml')).toContain('the run did not end');
    expect(existsSync(inWork('out.json'))).toBe(false);
    expect(existsSync(inWork('out.sarif'))).toBe(false);
  }, 60_000);
});
