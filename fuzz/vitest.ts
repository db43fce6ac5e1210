// kvproof/vitest: one call turns a kernel into a suite of vitest, one test for each property.
//
//   import { describeKernel } from 'kvproof/vitest';
//   describeKernel('lib:./build/libmine.so', { runs: 100, seed: 1 });
//   describeKernel(new MyTypeScriptKernel());
//
// A URI is run as `kvproof verify` runs it: in child processes with a deadline, the corpus first,
// failures shrunk. A Kernel object is TypeScript and runs in the test's own process, case by case,
// with fast-check's seed, path and shrinking. A property that judged no case fails: zero is never
// green, except where the kernel's capabilities rule the property out in every case.

import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { caseArbitrary, defaultSpace } from '../properties/arbitrary/case.js';
import { type Kernel, noSource, type Property, properties } from '../properties/index.js';
import { type Campaign, runCampaign } from './campaign/campaign.js';
import { judgeCase } from './campaign/judge.js';
import { RUN } from './campaign/outcome.js';
import type { Seed } from './campaign/seed.js';
import { type Tally, tally } from './campaign/tally.js';
import { Workdir } from './campaign/workdir.js';
import { failureReport } from './report/failure.js';

export interface SuiteOptions {
  /** Generated cases; default 100 for a URI, 20 for an object. */
  readonly runs?: number;
  readonly seed?: number;
  /** A URI: stored cases and slices of a real cache come first; default true. */
  readonly corpus?: boolean;
  /** Names of properties; default all. */
  readonly properties?: readonly string[];
  /** Emulated kernels: every access is checked. */
  readonly checked?: boolean;
  /** Processes; default 2. */
  readonly workers?: number;
  /** Where findings are stored; default corpus/findings. */
  readonly findings?: string;
  /** For one case. */
  readonly deadlineMs?: number;
  /** For all cases of the suite; default 10 minutes. */
  readonly timeoutMs?: number;
}

/** Registers the suite of a kernel. Throws for a property that does not exist. */
export function describeKernel(kernel: string | Kernel, options: SuiteOptions = {}): void {
  const chosen = chosenFrom(options.properties);
  if (typeof kernel === 'string') describeUri(kernel, chosen, options);
  else describeObject(kernel, chosen, options);
}

function chosenFrom(names: readonly string[] | undefined): readonly Property[] {
  if (names === undefined) return properties;
  return names.map((name) => {
    const property = properties.find((known) => known.name === name);
    if (property !== undefined) return property;
    const known = properties.map((p) => p.name).join(', ');
    throw new Error(`properties: there is no "${name}", there are ${known}`);
  });
}

function describeUri(uri: string, chosen: readonly Property[], options: SuiteOptions): void {
  describe(uri, () => {
    let campaign: Campaign;
    let sums: Tally;
    const names = chosen.map(({ name }) => name);
    beforeAll(async () => {
      const opened = Workdir.open('.kvproof');
      if (opened.kind === 'error') throw new Error(opened.message);
      const result = await runCampaign({
        kernel: uri,
        checked: options.checked ?? false,
        seed: (options.seed ?? 1) as Seed,
        budget: { generated: options.runs ?? 100, seconds: null },
        corpus: options.corpus ?? true,
        workers: options.workers ?? 2,
        workdir: opened.workdir,
        findings: options.findings ?? 'corpus/findings',
        baseline: null,
        properties: options.properties === undefined ? null : names,
        caseDeadlineMs: options.deadlineMs ?? 60_000,
        shrinkMs: 30_000,
        replayCommand: (path, kernel) => `npx kvproof replay ${path} --kernel ${kernel}`,
        interrupt: new AbortController().signal,
        events: { opened() {}, ran() {}, shrinking() {} },
      });
      if (result.kind === 'error') throw new Error(result.message);
      campaign = result;
      sums = tally(result.pool.records, [RUN, ...names]);
    }, options.timeoutMs ?? 600_000);

    test(RUN, () => {
      expect(failuresOf(campaign, RUN)).toEqual([]);
      expect(campaign.pool.loss?.message ?? null).toBeNull();
      expect(campaign.pool.broken.map(({ message }) => message)).toEqual([]);
      expect(sums.cases, 'cases that ran').toBeGreaterThan(0);
    });
    for (const { name } of chosen) {
      test(name, ({ skip }) => {
        expect(failuresOf(campaign, name)).toEqual([]);
        const row = sums.properties.find((entry) => entry.name === name);
        if (row?.cases === 0) skip('no case of the run could be judged by it');
      });
    }
  });
}

/** What the terminal says about each finding of a property. */
function failuresOf(campaign: Campaign, property: string): string[] {
  return campaign.findings
    .filter(({ finding }) => finding.property === property)
    .map((reported) => failureReport(reported).join('\n'));
}

function describeObject(kernel: Kernel, chosen: readonly Property[], options: SuiteOptions): void {
  const arbitrary = caseArbitrary(kernel.capabilities, defaultSpace);
  const parameters = { numRuns: options.runs ?? 20, seed: options.seed ?? 1 };
  describe(kernel.uri, () => {
    for (const property of chosen) {
      test(
        property.name,
        ({ skip }) => {
          let judged = 0;
          fc.assert(
            fc.property(arbitrary, (c) => {
              const result = judgeCase(kernel, c, noSource, [property]);
              if (result.kind === 'broken') throw new Error(result.message);
              if (result.kind === 'died') throw new Error(`${result.cause} ${result.detail}`);
              const [{ verdict }] = result.verdicts;
              if (verdict.kind !== 'unsupported') judged++;
              expect(
                verdict.kind === 'fail' ? `${verdict.signature}: ${verdict.message}` : '',
              ).toBe('');
            }),
            parameters,
          );
          if (judged === 0) skip('no case of the run could be judged by it');
        },
        options.timeoutMs ?? 600_000,
      );
    }
  });
}
