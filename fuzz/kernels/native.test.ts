// The addon and libraries that misbehave: what a run reports about them, which ones are not opened,
// and which arguments are refused. The echo kernel copies its inputs, so every byte is known; it is
// compiled here with one fault each and runs in a child with a deadline, since some faults end it.
// Nothing here judges the arithmetic of a kernel.
import { type ChildProcess, fork, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { packageRoot } from '../campaign/package-root.js';
import { builtLibrary } from './built-library.js';
import type { Addon } from './native.js';

const DEADLINE_MS = 10_000;
const testdata = join(packageRoot(), 'native', 'host', 'testdata');
const folder = mkdtempSync(join(tmpdir(), 'kvproof-native-run-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The echo kernel compiled with these definitions. */
function echo(...definitions: string[]): string {
  const path = join(folder, `${['echo', ...definitions].join('-').replaceAll('=', '-')}.so`);
  const flags = definitions.map((definition) => `-D${definition}`);
  const source = join(testdata, 'echo_kernel.c');
  const args = ['-shared', '-fPIC', '-O1', ...flags, '-o', path, source];
  const built = spawnSync(process.env.CC ?? 'cc', args, { encoding: 'utf8', timeout: 60_000 });
  if (built.status !== 0) throw new Error(`${source}: not compiled: ${built.stderr}`);
  return path;
}

type Reply = { id: number; value?: unknown; error?: string };

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** A process with the addon loaded. Without a build this throws: no test passes or is skipped. */
function startAddon(deadline = DEADLINE_MS) {
  const built = builtLibrary('kvproof.node');
  if (built.kind === 'error') throw new Error(built.message);
  const child = fork(join(testdata, 'addon_child.mjs'), [built.path], {
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  children.push(child);
  let last = 0;
  return <Name extends keyof Addon>(name: Name, ...args: unknown[]) =>
    new Promise<ReturnType<Addon[Name]>>((resolve, reject) => {
      const id = ++last;
      const settle = (act: () => void) => {
        clearTimeout(timer);
        child.off('message', answered).off('exit', ended);
        act();
      };
      const answered = ({ value, error }: Reply) =>
        settle(() =>
          error === undefined
            ? resolve(value as ReturnType<Addon[Name]>)
            : reject(new Error(`threw: ${error}`)),
        );
      const ended = (_: number | null, signal: string | null) =>
        settle(() => reject(new Error(`ended by ${signal}`)));
      const timer = setTimeout(() => settle(() => reject(new Error('no answer'))), deadline);
      child.on('message', answered).on('exit', ended);
      child.send({ id, name, args });
    });
}

const problem = {
  ...{ format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128, splits: 0 },
  ...{ queryHeads: 4, kvHeads: 2, headSize: 8, tokens: [3, 0, 130], softmaxScale: 0.5 },
  ...{ queryTokens: 1, type: 'fp16', inputPadding: 0 },
  ...{ appended: 0, pageTableStride: 0, poolPages: 0 },
};
const counting = (elements: number) => Uint16Array.from({ length: elements }, (_, i) => i + 1);
const inputs = { q: counting(3 * 4 * 8), k: counting(133 * 2 * 8), v: counting(133 * 2 * 8) };
const nanPoison = { poison: 0xff };

async function opened(path: string, sm = 0, deadline = DEADLINE_MS) {
  const call = startAddon(deadline);
  const result = await call('open', path, { ordinal: 0, sm });
  if (result.kind !== 'opened') throw new Error(result.message);
  return { call, handle: result.handle };
}

async function runEcho(fault: string, options: object = nanPoison) {
  const { call, handle } = await opened(echo(`FAULT=${fault}`));
  return call('run', handle, problem, inputs, options);
}

async function ranEcho(fault: string, options: object = nanPoison) {
  const result = await runEcho(fault, options);
  if (result.kind !== 'ran') throw new Error(`${result.kind}: ${result.reason}`);
  return result;
}

describe('a run', () => {
  it('hands over what a right library wrote, and reports nothing', async () => {
    const result = await ranEcho('NO_FAULT');
    expect(result.violations).toEqual([]);
    expect(result.output).toEqual(inputs.q);
    expect([...result.lse]).toEqual([3, 0, 130].flatMap((tokens) => Array(4).fill(tokens)));
    const cached = new Uint16Array(result.cache.slice().buffer);
    expect(cached).toEqual(Uint16Array.from([...inputs.k, ...inputs.v]));
    // Tails: the 3 tokens of the first request; 131 = 3 + 128 is where that of the third begins.
    expect(result.kResidual.slice(0, 3 * 16)).toEqual(inputs.k.slice(0, 3 * 16));
    const third = 2 * 128 * 16;
    expect(result.vResidual.slice(third, third + 2 * 16)).toEqual(inputs.v.slice(131 * 16));
  });

  for (const [fault, buffer, kind, offset, count] of [
    ['WRITE_PAST_OUTPUT', 'output', 'redzone', 3 * 4 * 8 * 2, 1],
    ['WRITE_BEFORE_CACHE', 'cache', 'redzone', -3, 1],
    ['CHANGE_KEYS', 'k', 'input-changed', 2, 1],
    ['CHANGE_CACHE', 'cache', 'input-changed', 5, 1],
    ['SKIP_LAST_OUTPUT', 'output', 'unwritten', (3 * 4 * 8 - 1) * 2, 2],
    ['SKIP_LSE', 'lse', 'unwritten', 0, 3 * 4 * 4],
  ] as const) {
    it(`reports ${fault} once, at its byte`, async () => {
      const { violations } = await ranEcho(fault);
      expect(violations).toEqual([{ buffer, kind, offset, count }]);
    });
  }

  it('leaves poison that is a number where nothing was written', async () => {
    for (const poison of [0x00, 0x11]) {
      const result = await ranEcho('SKIP_LAST_OUTPUT', { poison });
      expect(result.violations).toEqual([]);
      expect(result.output.at(-1)).toBe(poison * 0x101);
    }
  });

  for (const [fault, kind, reason] of [
    ['HUGE_CACHE', 'refused', /^sizes: cache of \d+ bytes, at most 4294967295 are possible$/],
    ['ODD_RESIDUAL', 'refused', /^sizes: residual of \d+ bytes is no whole number of fp16/],
    ['REFUSE_DECODE', 'refused', /^decode: the grid is too large$/],
    ['FAIL_DEVICE', 'device-error', /^decode: an illegal memory access was encountered$/],
    ['FAIL_SILENTLY', 'refused', /^decode: returned status 77 without a message$/],
    ['FILL_ERROR_TEXT', 'refused', /^x{1023}$/],
  ] as const) {
    it(`ends with the reason of ${fault}`, async () => {
      expect(await runEcho(fault)).toMatchObject({ kind, reason: expect.stringMatching(reason) });
    });
  }

  it('is unsupported where the library says so', async () => {
    const { call, handle } = await opened(echo());
    const reason = 'bits: 2 found, 4 is required';
    const two = { ...problem, bits: 2 };
    expect(await call('supports', handle, problem)).toBe(null);
    expect(await call('supports', handle, two)).toBe(reason);
    const result = await call('run', handle, two, inputs, nanPoison);
    expect(result).toMatchObject({ kind: 'unsupported', reason });
  });

  it('repeats schedule, marks and hash of an emulated library', async () => {
    const { call, handle } = await opened(echo('EMULATED'), 89);
    const schedule = { policy: 'starve', copies: 'lazy', seed: 2 ** 53 - 1, starvedWarp: 3 };
    const result = await call('run', handle, problem, inputs, { ...nanPoison, schedule });
    const residual = 3 * 128 * 2 * 8 * 2;
    const poisoned = 2 * 133 * 2 * 8 * 2 + 2 * residual + 64 + 96 * 2 + 12 * 4;
    const initialised = 96 * 2 + 2 * 133 * 2 * 8 * 2;
    expect(result).toMatchObject({ kind: 'ran', scheduleHash: '000000000000abcd' });
    expect(result.reports.map(({ text }) => text)).toEqual([
      `starve lazy seed ${2 ** 53 - 1} warp 3 sm 89`,
      // Nine buffers, each between two redzones of 4096 bytes.
      `${poisoned} never written, ${initialised} initialised, ${9 * 2 * 4096} redzone`,
    ]);
  });

  for (const [fault, signal] of [
    ['ABORT_IN_DECODE', 'SIGABRT'],
    ['SEGFAULT_IN_DECODE', 'SIGSEGV'],
  ] as const) {
    it(`takes its process along at ${fault}, and no other`, async () => {
      await expect(runEcho(fault)).rejects.toThrow(`ended by ${signal}`);
    });
  }

  it('that never ends is ended from outside', async () => {
    const { call, handle } = await opened(echo('FAULT=HANG_IN_DECODE'), 0, 2000);
    const result = call('run', handle, problem, inputs, nanPoison);
    await expect(result).rejects.toThrow('no answer');
  });
});

// The kernel of -DPAGED: its cache is K itself, one page of 128 tokens after another.
describe('a run with a page table', () => {
  const shape = { queryTokens: 2, tokens: [3, 0, 300, 260], kept: [0, 0, 0, 128] };
  const paged = { ...problem, ...shape, pageTableStride: 3, poolPages: 6, appended: 140 };
  // Request 3 has the first page of request 2; page 1 is nobody's.
  const pageTable = Int32Array.from([9, 9, 9, 9, 9, 9, 4, 0, 9, 4, 5, 9]);
  const tokenWords = 2 * 8;
  const k = counting(563 * tokenWords);
  k.copyWithin(303 * tokenWords, 3 * tokenWords, (3 + 128) * tokenWords);
  const given = { q: counting(4 * 2 * 4 * 8), k, v: k, pageTable };
  const words = (bytes: Uint8Array) => new Uint16Array(bytes.slice().buffer);
  const tokens = (first: number, count: number) =>
    k.slice(first * tokenWords, (first + count) * tokenWords);

  async function ran(changes: object, ...definitions: string[]) {
    const { call, handle } = await opened(echo('PAGED', ...definitions));
    const options = { ...nanPoison, dequantize: true };
    const result = await call('run', handle, { ...paged, ...changes }, given, options);
    if (result.kind !== 'ran') throw new Error(`${result.kind}: ${result.reason}`);
    expect(result.violations).toEqual([]);
    return result;
  }

  for (const [name, changes] of [
    ['quantised at once', { appended: 0 }],
    ['with appended tokens', {}],
    ['from nothing, step by step', { appended: 1000 }],
    ['with rows apart', { appended: 0, inputPadding: 8 }],
    ['with rows apart and appended tokens', { inputPadding: 24 }],
  ] as const) {
    it(`hands over each token once, ${name}`, async () => {
      const result = await ran(changes);
      const cache = words(result.cache);
      const page = (i: number) => cache.slice(i * 128 * tokenWords, (i + 1) * 128 * tokenWords);
      expect(page(4)).toEqual(tokens(3, 128));
      expect(page(0)).toEqual(tokens(131, 128));
      expect(page(5)).toEqual(tokens(303 + 128, 128));
      expect(page(1).every((word) => word === 0xffff)).toBe(true);
      const window = result.kResidual.slice(2 * 128 * tokenWords, (2 * 128 + 44) * tokenWords);
      expect(window).toEqual(tokens(3 + 256, 44));
      expect(result.kValues).toEqual(k);
      expect(result.vValues?.length).toBe(k.length);
      expect(result.output).toEqual(given.q);
      const lengths = [3, 6, 0, 0, 300, 600, 260, 520].flatMap((n) => Array(4).fill(n));
      expect([...result.lse]).toEqual(lengths);
    });
  }

  it('forbids an emulated library to read between rows, pages and tables', async () => {
    const { call, handle } = await opened(echo('PAGED', 'EMULATED'), 90);
    const changes = { inputPadding: 8 };
    const result = await call('run', handle, { ...paged, ...changes }, given, nanPoison);
    // Tokens of q, quantised ones of k and v, appended ones and none. Bytes of a token: 4 heads of
    // q or 2 of k or v; gaps behind heads and tokens of q, twice as wide behind heads of k and
    // behind tokens of v.
    const [q, quantised, appended, none] = [8, 160 + 120, 283, 4 * 140 - 283];
    const [ofQ, ofK, ofV] = [4 * 32 + 16, 2 * 48, 2 * 16 + 32];
    const initialised = q * ofQ + (quantised + appended + none) * (ofK + ofV) + 4 * 12;
    const held = q * 4 * 16 + (quantised + appended) * 4 * 16 + 4 * 4;
    const between = initialised - held;
    const page = 128 * tokenWords * 2;
    const written = 6 * page + 2 * 4 * page + 64 + q * 4 * (16 + 4);
    expect(result.reports[1].text).toBe(
      `${written + 3 * page + between} never written, ${initialised} initialised, ` +
        `${12 * 2 * 4096} redzone`,
    );
  });

  it('is refused where the library cannot append', async () => {
    const { call, handle } = await opened(echo('PAGED', 'FAULT=NO_APPEND'));
    expect(await call('describe', handle)).toMatchObject({ append: false, dequantize: true });
    const result = await call('run', handle, paged, given, nanPoison);
    const reason = 'append: null in the kernel table';
    expect(result).toMatchObject({ kind: 'refused', reason });
  });

  it('refuses tables, lengths and options that make no sense', async () => {
    const { call, handle } = await opened(echo('PAGED'));
    const inRange = 'a page from 0 to 6 - 1 is required';
    for (const [changes, inputs, message] of [
      [{ pageTableStride: 1 }, {}, 'problem.pageTableStride: 1 found, at least 2, the records of'],
      [{ pageTableStride: 0 }, {}, 'problem.pageTableStride: 0 found, a page table for poolPages'],
      [{ kept: [0, 0, 0, 100] }, {}, 'problem.kept[3]: 100 found, a multiple of 128 is required'],
      [{ kept: [0, 0, 0, 384] }, {}, 'problem.kept[3]: 384 found, an integer from 0 to 260'],
      [{ kept: [0] }, {}, 'problem.kept: 1 requests found, 4 requests is required'],
      [{ type: 'fp8' }, {}, 'problem.type: "fp8" found, "fp16" or "bf16" is required'],
      [{ queryTokens: 0 }, {}, 'problem.queryTokens: 0 found, an integer from 1 to 1024'],
      [{}, { pageTable: pageTable.slice(1) }, 'inputs.pageTable: 11 elements found, '],
      [{}, { pageTable: pageTable.map((page) => page - 5) }, `[6]: -1 found, ${inRange}`],
      [{}, { pageTable: pageTable.map((page) => page + 2) }, `[6]: 6 found, ${inRange}`],
    ] as const) {
      const changed = { ...paged, ...changes };
      const refused = call('run', handle, changed, { ...given, ...inputs }, nanPoison);
      await expect(refused).rejects.toThrow(message);
    }
  });
});

async function refusal(path: string, sm = 0): Promise<string> {
  const result = await startAddon()('open', path, { ordinal: 0, sm });
  if (result.kind === 'opened') throw new Error(`${path}: was opened`);
  expect(result.message.startsWith(`${path}: `)).toBe(true);
  expect(result.message).not.toMatch(/\n/);
  return `${result.kind}: ${result.message.slice(path.length + 2)}`;
}

describe('open', () => {
  for (const [definitions, message] of [
    [['kvproof_kernel=other_name'], 'no-library: exports no function kvproof_kernel()'],
    [['FAULT=WRONG_VERSION'], 'no-library: kernel ABI version 999 found, version 2 is required'],
    [['FAULT=SHORT_TABLE'], 'no-library: kernel table of 16 bytes found, '],
    [['FAULT=NULL_TABLE'], 'no-library: kvproof_kernel() returned no kernel table'],
    [['FAULT=NULL_DECODE'], 'no-library: decode is null in the kernel table, a function is'],
    [['FAULT=NULL_NAME'], 'no-library: name is null in the kernel table, a text is required'],
    [['STREAMS'], 'no-library: streams.open is null in the kernel table, a function is'],
    [['FAULT=NO_DEVICE', 'EMULATED'], 'no-device: device 0: no device answers'],
  ] as const) {
    it(`refuses a library of ${definitions.join(', ')}`, async () => {
      expect(await refusal(echo(...definitions))).toContain(message);
    });
  }

  it('refuses what is no complete shared library', async () => {
    const whole = readFileSync(echo());
    const file = (name: string, bytes: string | Uint8Array) => {
      writeFileSync(join(folder, name), bytes);
      return join(folder, name);
    };
    const required = ', a 64-bit ELF shared library is required';
    const missing = join(folder, 'missing.so');
    expect(await refusal(missing)).toContain('cannot be read: ');
    expect(await refusal(folder)).toBe(`no-library: is not a regular file${required}`);
    expect(await refusal(file('text.so', 'a text\n'.repeat(99)))).toContain('is not an ELF file');
    expect(await refusal(file('short.so', whole.subarray(0, 100)))).toContain('is cut short');
    const half = whole.subarray(0, whole.length / 2);
    expect(await refusal(file('half.so', half))).toContain('is cut short: a segment ends past');
  });

  it('throws for a path that the loader would search for', async () => {
    await expect(startAddon()('open', 'echo.so', { ordinal: 0, sm: 0 })).rejects.toThrow(
      'threw: path: "echo.so" found, an absolute path is required',
    );
  });
});

describe('arguments', () => {
  it('are refused by name, each in one sentence, and the next call still runs', async () => {
    const { call, handle } = await opened(echo());
    const refused = async (name: string, args: unknown[]) => {
      const error = await call('run', ...args).then(
        () => 'it ran',
        (reason: Error) => reason.message,
      );
      expect(error.startsWith(`threw: ${name}`), `${name}: ${error}`).toBe(true);
      expect(error).toMatch(/ found, .+ is required$/);
    };
    for (const key of Object.keys(problem)) {
      for (const value of [undefined, null, Number.NaN, -1, {}, 10n]) {
        // A negative scale is a number like any other.
        if (key === 'softmaxScale' && value === -1) continue;
        await refused(`problem.${key}`, [handle, { ...problem, [key]: value }, inputs, nanPoison]);
      }
    }
    await refused('problem.tokens[1]', [handle, { ...problem, tokens: [3, 0.5] }, inputs, {}]);
    for (const key of ['q', 'k', 'v'] as const) {
      for (const value of [undefined, [1, 2], new Int16Array(96), inputs[key].slice(1)]) {
        const changed = { ...inputs, [key]: value };
        await refused(`inputs.${key}`, [handle, problem, changed, nanPoison]);
      }
    }
    for (const poison of [-1, 256, 0.5, '7']) {
      await refused('options.poison', [handle, problem, inputs, { poison }]);
    }
    for (const wrong of [0, 1.5, '1', undefined]) {
      await refused('handle', [wrong, problem, inputs, nanPoison]);
    }
    const result = await call('run', handle, problem, inputs, nanPoison);
    expect(result).toMatchObject({ kind: 'ran', violations: [] });
  });

  it('name a handle that is closed', async () => {
    const { call, handle } = await opened(echo());
    await call('close', handle);
    await expect(call('describe', handle)).rejects.toThrow(`threw: handle: ${handle} is not open`);
  });
});

describe('hostile calls', () => {
  for (const seed of [1, 2]) {
    it(`of seed ${seed}, 1,500 of them, end no process, and a right call still runs`, () => {
      const built = builtLibrary('kvproof.node');
      if (built.kind === 'error') throw new Error(built.message);
      const args = [join(testdata, 'hostile_calls.mjs'), built.path, echo(), `${seed}`, '1500'];
      const child = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 50_000 });
      expect(child.signal, child.stderr).toBe(null);
      expect(child.status, child.stderr).toBe(0);
      const counts = JSON.parse(child.stdout);
      expect(counts.calls).toBeGreaterThan(1000);
      expect(counts.threw).toBeGreaterThan(100);
      expect(counts.sentences).toBe(counts.threw);
      expect(counts.rightAfterwards).toBe(true);
    });
  }
});
