// hostile_calls.mjs ADDON LIBRARY SEED CALLS - calls every function of the addon with arguments
// that nobody should pass, and prints {calls, threw, returned, sentences} as JSON if the process is
// still alive.
//
// Arguments are right ones with some parts replaced: other types, extreme numbers, wrong typed
// arrays, detached and shrunk buffers, proxies, getters that throw, close the handle or detach the
// inputs.
import { createRequire } from 'node:module';
import fc from 'fast-check';

const [addonPath, libraryPath, seedText, callsText] = process.argv.slice(2);
const addon = createRequire(import.meta.url)(addonPath);
const opened = addon.open(libraryPath, { ordinal: 0, sm: 90 });
if (opened.kind !== 'opened') throw new Error(opened.message);
const { handle } = opened;

const problem = {
  ...{ format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128, splits: 0 },
  ...{ queryHeads: 4, kvHeads: 2, headSize: 8, tokens: [3, 0, 130], softmaxScale: 0.5 },
  ...{ queryTokens: 1, type: 'fp16', inputPadding: 0, appended: 0, pageTableStride: 2 },
  ...{ poolPages: 3, kept: [0, 0, 128] },
};
const inputs = () => ({
  q: new Uint16Array(3 * 4 * 8).fill(1),
  k: new Uint16Array(133 * 2 * 8).fill(2),
  v: new Uint16Array(133 * 2 * 8).fill(3),
  pageTable: new Int32Array([0, 0, 0, 0, 2, 0]),
});
const options = {
  poison: 255,
  dequantize: false,
  schedule: { policy: 'random', copies: 'lazy', seed: 1 },
};

function detached(elements) {
  const array = new Uint16Array(elements);
  structuredClone(array, { transfer: [array.buffer] });
  return array;
}

function shrunk(elements) {
  const buffer = new ArrayBuffer(2 * elements, { maxByteLength: 4 * elements });
  const array = new Uint16Array(buffer);
  buffer.resize(2);
  return array;
}

const proxy = (target) =>
  new Proxy(target, {
    get() {
      throw new Error('a trap that throws');
    },
  });

// What a getter may do between two reads of one call.
const mischief = () => {
  const fresh = addon.open(libraryPath, { ordinal: 0, sm: 90 });
  const given = inputs();
  return {
    handle: fresh.handle,
    inputs: {
      q: given.q,
      k: given.k,
      get v() {
        structuredClone(given.q, { transfer: [given.q.buffer] });
        addon.close(fresh.handle);
        return given.v;
      },
    },
  };
};

const hostileValue = fc.oneof(
  fc.constantFrom(
    undefined,
    null,
    true,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    -1,
    0.5,
    2 ** 31,
    2 ** 32,
    2 ** 53,
    2 ** 64,
    1e308,
    -0,
    10n ** 30n,
    Symbol('s'),
    '',
    'channel\0',
    'x'.repeat(100_000),
    '\ud800',
    () => 1,
    new Date(0),
    new Map(),
    /x/,
    new Error('e'),
    Object.create(null),
    [],
    [[]],
    new Array(5),
    new Array(2 ** 32 - 1),
  ),
  fc.constantFrom(
    new Uint16Array(96),
    new Uint8Array(192),
    new Int16Array(96),
    new Float64Array(96),
    new BigInt64Array(96),
    new Int32Array(6).fill(-1),
    new DataView(new ArrayBuffer(192)),
    new ArrayBuffer(192),
    new SharedArrayBuffer(192),
    new Uint16Array(new SharedArrayBuffer(192)),
  ),
  fc.nat(3000).map(detached),
  fc.integer({ min: 1, max: 3000 }).map(shrunk),
  fc.constantFrom(proxy({}), proxy([]), proxy(new Uint16Array(96)), new Proxy([3, 0, 130], {})),
  fc.array(fc.oneof(fc.integer(), fc.double(), fc.constant('7')), { maxLength: 5 }),
  fc.anything({ withBigInt: true, withTypedArray: true, withSparseArray: true }),
);

const throwing = {
  get() {
    throw new Error('a getter that throws');
  },
  ...{ configurable: true, enumerable: true },
};
const property = (value) => ({ value, configurable: true, enumerable: true, writable: true });

/** A copy of `object` with some fields replaced, dropped or turned into getters that throw. */
const spoiled = (object) =>
  fc
    .array(fc.tuple(fc.constantFrom(...Object.keys(object)), fc.nat(9), hostileValue), {
      maxLength: 2,
    })
    .map((changes) => {
      const copy = { ...object };
      for (const [key, how, value] of changes) {
        if (how === 0) delete copy[key];
        else Object.defineProperty(copy, key, how === 1 ? throwing : property(value));
      }
      return copy;
    });

const orHostile = (arbitrary) =>
  fc.oneof({ weight: 6, arbitrary }, { weight: 1, arbitrary: hostileValue });
const handles = orHostile(fc.constant(handle));
const problems = orHostile(spoiled(problem));
const optionValues = orHostile(
  fc.oneof(
    spoiled(options),
    spoiled(options.schedule).map((schedule) => ({ ...options, schedule })),
  ),
);
const call = fc.oneof(
  fc.record({
    name: fc.constant('run'),
    args: fc.oneof(
      fc.tuple(handles, problems, orHostile(spoiled(inputs())), optionValues),
      fc.constant(null).map(() => {
        const trap = mischief();
        return [trap.handle, problem, trap.inputs, options];
      }),
      fc.array(hostileValue, { maxLength: 5 }),
    ),
  }),
  fc.record({ name: fc.constant('supports'), args: fc.tuple(handles, problems) }),
  fc.record({ name: fc.constant('describe'), args: fc.tuple(handles) }),
  fc.record({ name: fc.constant('close'), args: fc.tuple(hostileValue) }),
  fc.record({
    name: fc.constant('open'),
    args: fc.tuple(
      orHostile(fc.constantFrom(libraryPath, '/', '/dev/zero', '/etc/passwd', '/no/such', 'x.so')),
      orHostile(spoiled({ ordinal: 0, sm: 90 })),
    ),
  }),
);

const counts = { calls: 0, threw: 0, returned: 0, sentences: 0 };
for (const { name, args } of fc.sample(call, {
  seed: Number(seedText),
  numRuns: Number(callsText),
})) {
  // The one number that would close what the other calls need.
  if (name === 'close' && args[0] === handle) continue;
  counts.calls++;
  try {
    addon[name](...args);
    counts.returned++;
  } catch (error) {
    counts.threw++;
    if (error instanceof Error && error.message !== '' && !error.message.includes('\n')) {
      counts.sentences++;
    }
  }
}
const after = addon.run(handle, problem, inputs(), options);
counts.rightAfterwards = after.kind === 'ran' && after.output.every((x) => x === 1);
process.stdout.write(JSON.stringify(counts));
