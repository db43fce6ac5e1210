// The reference in native code says what the reference says, on generated cases and on kernels with
// one fault each. The host build judges the emulated kernel, in a child with a deadline; the CUDA
// build is the same source.
import { fork, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { Case } from '../../properties/case.js';
import { judgementOf } from '../../properties/judgement.js';
import type { Capabilities, Kernel } from '../../properties/kernel.js';
import { materialize, noSource } from '../../properties/materialize.js';
import { DISTRIBUTIONS } from '../../properties/recipe.js';
import { readCases } from '../campaign/case-file.js';
import { NATIVE_REFERENCE, nativeAgreement } from '../campaign/native-agreement.js';
import { packageRoot } from '../campaign/package-root.js';
import { CASE_SPACE, planCases, sweepArbitrary } from '../campaign/plan.js';
import { builtLibrary } from './built-library.js';
import { parseCapabilities } from './capabilities.js';
import {
  judgeRequest,
  type NativeBatch,
  type NativeResults,
  observationOf,
  unjudgedCase,
} from './native-reference.js';

const DEADLINE_MS = 120_000;
const testdata = join(packageRoot(), 'native', 'host', 'testdata');
const folder = mkdtempSync(join(tmpdir(), 'kvproof-reference-'));
afterAll(() => rmSync(folder, { recursive: true }));

function pathOf(name: string): string {
  const built = builtLibrary(name);
  if (built.kind === 'error') throw new Error(built.message);
  return built.path;
}

/** The emulated kernel with this fault. */
function flawed(flaw: string): string {
  const path = join(folder, `${flaw}.so`);
  const source = join(testdata, 'flawed_kernel.c');
  const args = ['-shared', '-fPIC', '-O1', `-DFLAW=${flaw}`, '-o', path, source, '-ldl'];
  const built = spawnSync(process.env.CC ?? 'cc', args, { encoding: 'utf8', timeout: 60_000 });
  if (built.status !== 0) throw new Error(`${source}: not compiled: ${built.stderr}`);
  return path;
}

/** Calls of the addon in a process of its own, one after another. */
async function withAddon<T>(
  body: (call: <V>(name: string, ...args: unknown[]) => Promise<V>) => Promise<T>,
): Promise<T> {
  const child = fork(join(testdata, 'addon_child.mjs'), [pathOf('kvproof.node')], {
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    env: { ...process.env, KVPROOF_KERNEL_LIBRARY: pathOf('libkvproof_sim.so') },
  });
  const call = <V>(name: string, ...args: unknown[]) =>
    new Promise<V>((resolve, reject) => {
      const ended = (_: unknown, signal: unknown) => reject(new Error(`ended by ${signal}`));
      child.once('message', ({ value, error }: { value?: V; error?: string }) => {
        child.off('exit', ended);
        if (error === undefined) resolve(value as V);
        else reject(new Error(error));
      });
      child.once('exit', ended);
      child.send({ id: 0, name, args });
    });
  const late = setTimeout(() => child.kill('SIGKILL'), DEADLINE_MS);
  try {
    return await body(call);
  } finally {
    clearTimeout(late);
    child.kill('SIGKILL');
  }
}

interface Described {
  readonly name: string;
  readonly capabilities: string;
  readonly append: boolean;
  readonly dequantize: boolean;
  readonly emulated: boolean;
  readonly checked: boolean;
}

interface Judged {
  readonly case: Case;
  readonly capabilities: Capabilities;
  readonly batch: NativeBatch;
  readonly results: NativeResults;
}

/** Judges cases at these places of a plan, in each of these ways, each by itself. */
async function judged(
  library: string,
  sm: number,
  places: readonly number[],
  changes: readonly Partial<Case>[] = [{}],
): Promise<Judged[]> {
  const twin = pathOf('libkvproof_twin_host.so');
  return withAddon(async (call) => {
    const opened = await call<{ handle: number }>('open', library, { ordinal: 0, sm });
    const described = await call<Described>('describe', opened.handle);
    const parsed = parseCapabilities(described.capabilities, { ...described, sm });
    if (parsed.kind === 'error') throw new Error(parsed.message);
    const { capabilities } = parsed;
    const arbitrary = sweepArbitrary(capabilities, CASE_SPACE);
    const plan = planCases({
      ...{ stored: [], realCache: false, capabilities, arbitrary, seed: 11, generated: 1e6 },
    });
    const found: Judged[] = [];
    const changed = places.flatMap((place) => {
      return changes.map((change) => ({ ...plan.at(place).case, ...change }));
    });
    for (const c of changed) {
      if (unjudgedCase(c) !== null) continue;
      const request = judgeRequest(capabilities, [c]);
      const batch = await call<NativeBatch>('twin', opened.handle, twin, request);
      const results = await call<NativeResults>('twin', opened.handle, twin, { call: 'read' });
      found.push({ case: c, capabilities, batch, results });
    }
    return found;
  });
}

/** A record and a window, normal numbers: every row has a bound. */
const recipe = { distribution: 'normal' as const, seed: 1, scale: 0, offset: 0 };
const plain: Partial<Case> = {
  problem: { tokens: [200], queryHeads: 2, kvHeads: 1, headSize: 64 },
  scheme: { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 },
  tensors: { q: recipe, k: recipe, v: recipe },
  options: {
    ...{ softmaxScale: 0.125, splits: 1 },
    pages: { order: 'shuffled', seed: 3, spare: 2, sharedRecords: 0 },
  },
};

const range = (first: number, count: number) => Array.from({ length: count }, (_, i) => first + i);

/** What nativeAgreement says about a case whose first run is what the native reference read. */
function agreement({
  case: c,
  capabilities,
  batch,
  results,
}: Awaited<ReturnType<typeof judged>>[0]) {
  const made = materialize(c, noSource);
  if (made.kind === 'error') throw new Error(made.message);
  const recorded: Kernel = {
    ...{ uri: 'recorded', device: { name: 'host', driver: 'host', sm: 'sm_90' }, capabilities },
    supports: () => null,
    run: () => observationOf(c, results).run,
    close: () => {},
  };
  const property = nativeAgreement({ judge: () => batch, read: () => results });
  return property.judge(judgementOf(recorded, c, made.inputs, noSource));
}

describe('the native reference', () => {
  it.each([
    [90, range(0, 24)],
    [80, range(100, 12)],
  ])(
    'agrees with the reference over the emulated sm_%i',
    async (sm, places) => {
      const all = await judged(pathOf('libkvproof_sim.so'), sm, places);
      const verdicts = all.map((one) => ({ case: one.case, verdict: agreement(one) }));
      expect(verdicts.filter(({ verdict }) => verdict.kind !== 'pass')).toEqual([]);
      for (const { batch } of all) expect(batch).toMatchObject({ kind: 'done' });
    },
    DEADLINE_MS,
  );

  it(
    'agrees with the reference on every stored case that it can judge',
    async () => {
      const read = readCases(join(packageRoot(), 'corpus', 'seeds'));
      if (read.kind === 'error') throw new Error(read.message);
      const able = read.stored.filter((one) => unjudgedCase(one.case) === null);
      expect(able.length).toBeGreaterThan(read.stored.length / 2);
      const cases = able.map((one) => one.case);
      const all = await judged(pathOf('libkvproof_sim.so'), 90, [0], cases);
      const verdicts = all.map((one) => ({ case: one.case, verdict: agreement(one) }));
      expect(verdicts.filter(({ verdict }) => verdict.kind !== 'pass')).toEqual([]);
    },
    DEADLINE_MS,
  );

  it(
    'draws every distribution to the bit',
    async () => {
      const changes = DISTRIBUTIONS.map((distribution, i) => {
        const drawn = { ...recipe, distribution, offset: 1 };
        const type = i % 2 === 0 ? 'fp16' : 'bf16';
        const problem = { tokens: [70, 3], queryHeads: 8, kvHeads: 8, headSize: 64, type } as const;
        const tensors = { q: drawn, k: drawn, v: drawn };
        return { ...plain, problem, tensors, options: { softmaxScale: 0.125, splits: 1 } };
      });
      const all = await judged(pathOf('libkvproof_sim.so'), 90, [0], changes);
      expect(all.length).toBe(changes.length);
      for (const { case: c, results } of all) {
        const made = materialize(c, noSource);
        if (made.kind === 'error') throw new Error(made.message);
        for (const name of ['q', 'k', 'v'] as const) {
          const { distribution } = c.tensors[name];
          expect(results[name], `${distribution} ${c.problem.type} ${name}`).toEqual(
            made.inputs[name],
          );
        }
      }
    },
    DEADLINE_MS,
  );

  it.each([
    ['WRONG_OUTPUT', { rejected: 1 }],
    ['WRONG_LSE', { rejected: 1 }],
    ['WRONG_CODE', { wrongCodes: 1 }],
    ['WRONG_WINDOW', { wrongCodes: 1 }],
    ['PAST_OUTPUT', { redzoneBytes: 4 }],
    ['CHANGED_QUERY', { changedInputs: 2 }],
    ['NOTHING_WRITTEN', {}],
    ['EVERY_OTHER_RUN', { differingBytes: 1 }],
    ['STRAY_PAGE', {}],
    ['NONE', {}],
  ])(
    'counts what %s does',
    async (flaw, counts) => {
      const [one] = await judged(flawed(flaw), 90, [0], [plain]);
      if (one.batch.kind !== 'done') throw new Error(one.batch.message);
      const [verdict] = one.batch.verdicts;
      const { kind, text, elements, values, definedBytes, ratio, ...found } = verdict;
      expect(kind).toBe('judged');
      const nonZero = Object.fromEntries(Object.entries(found).filter(([, count]) => count > 0));
      if (flaw === 'NOTHING_WRITTEN') {
        expect(nonZero.unwrittenBytes).toBe(2 * 2 * 64 + 2 * 4);
      } else if (flaw === 'STRAY_PAGE') {
        expect(nonZero).toEqual({ strayBytes: 2 });
      } else {
        expect(nonZero).toMatchObject(counts);
        if (flaw === 'NONE') expect(nonZero).toEqual({});
      }
      // Neither reference is told what the kernel did: they agree about it.
      if (flaw !== 'NOTHING_WRITTEN') expect(agreement(one).kind).toBe('pass');
    },
    DEADLINE_MS,
  );

  it('is told apart from the reference by a wrong bound', async () => {
    const [one] = await judged(pathOf('libkvproof_sim.so'), 90, [0], [plain]);
    const { bound } = one.results;
    const changed = { ...one.results, bound: bound.map((x) => x * (1 + 1e-6)) };
    const verdict = agreement({ ...one, results: changed });
    expect(verdict).toMatchObject({ signature: `${NATIVE_REFERENCE}/outputBound` });
  });
});
