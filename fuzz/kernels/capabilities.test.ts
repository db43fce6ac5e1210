// Tests of the capabilities text: a full declaration is read, and any damage to it is named.
import { describe, expect, it } from 'vitest';
import { type HostFacts, parseCapabilities } from './capabilities.js';

const host: HostFacts = { name: 'k', sm: 90, emulated: true, checked: false };

const declared = {
  formats: [
    {
      format: 'bitdecoding',
      kAxis: ['channel'],
      bits: [4, 2],
      groups: [128, 64, 32],
      headSizes: [128],
    },
  ],
  layout: 'record128',
  tokensMax: 1024,
  headsPerKvMax: 8,
  arithmetic: { operands: 'folded', sumLanes: 8 },
  tiles: [8, 128],
  deterministic: true,
};

function read(value: unknown, facts: Partial<HostFacts> = {}) {
  return parseCapabilities(JSON.stringify(value), { ...host, ...facts });
}

function capabilities(value: unknown, facts: Partial<HostFacts> = {}) {
  const result = read(value, facts);
  if (result.kind === 'error') throw new Error(result.message);
  return result.capabilities;
}

describe('parseCapabilities', () => {
  it('keeps what is declared and takes the rest from the host', () => {
    const { arithmetic, ...rest } = declared;
    expect(capabilities(declared)).toEqual({
      ...rest,
      arithmetic: { ...arithmetic, fraction: 25, fusedProducts: 16 },
      ...{ name: 'k', emulated: true, checked: false },
    });
  });

  it('does not believe what a library says about its host', () => {
    const found = capabilities({ ...declared, name: 'other', emulated: false, checked: true });
    expect(found).toMatchObject({ name: 'k', emulated: true, checked: false });
  });

  it.each([
    [80, 24, 8],
    [86, 24, 8],
    [89, 24, 8],
    [90, 25, 16],
    [120, 24, 8],
    [0, 24, 8],
  ])('gives sm %d the accumulation of its tensor core', (sm, fraction, fusedProducts) => {
    expect(capabilities(declared, { sm }).arithmetic).toMatchObject({ fraction, fusedProducts });
  });

  it('lets a library declare its own accumulation', () => {
    const arithmetic = { operands: 'any', sumLanes: 1, fraction: 24, fusedProducts: 8 };
    expect(capabilities({ ...declared, arithmetic }).arithmetic).toEqual(arithmetic);
  });

  it('keeps what a library may support beyond the first version', () => {
    const more = { queryTokensMax: 8, paged: true, append: true, dequantize: false, strided: true };
    const formats = [{ ...declared.formats[0], types: ['fp16', 'bf16'] }];
    expect(capabilities({ ...declared, ...more, formats })).toMatchObject({ ...more, formats });
  });

  it('does not believe in functions that the table lacks, nor in appending without pages', () => {
    for (const name of ['append', 'dequantize'] as const) {
      const message = `capabilities.${name}: true found, a function of that name in the kernel`;
      const more = { ...declared, paged: true, [name]: true };
      expect(read(more, { [name]: false })).toMatchObject({
        message: expect.stringContaining(message),
      });
      expect(capabilities(more, { [name]: true })[name]).toBe(true);
    }
    const message = 'capabilities.paged: nothing found, true with append is required';
    expect(read({ ...declared, append: true }, { append: true })).toMatchObject({ message });
  });

  it.each([
    [80, [[8192, 4]]],
    [89, [[8192, 4]]],
    [
      90,
      [
        [8192, 3],
        [32768, 2],
      ],
    ],
  ])('takes the schedule that is for sm %d', (sm, warps) => {
    const schedule = [
      {
        sm: 90,
        warps: [
          [8192, 3],
          [32768, 2],
        ],
      },
      { sm: 80, warps: [[8192, 4]] },
    ];
    const own = { ...declared, arithmetic: { ...declared.arithmetic, schedule } };
    expect(capabilities(own, { sm }).arithmetic?.schedule).toEqual({ warps });
  });

  it('holds named exponentials to their bits on sm_90 alone', () => {
    const named = { warps: [[8192, 4]], exponential: 'ex2.approx.ftz.f32' };
    const schedule = [80, 90].map((sm) => ({ sm, ...named }));
    const own = { ...declared, arithmetic: { ...declared.arithmetic, schedule } };
    const of = (sm: number) => capabilities(own, { sm }).arithmetic?.schedule;
    expect([80, 89].map(of)).toEqual([{ warps: [[8192, 4]] }, { warps: [[8192, 4]] }]);
    expect(of(90)).toEqual({ warps: [[8192, 4]], exponential: 'sm_90' });
  });

  it.each([0, 75, 100, 120])('takes no schedule for sm %d, whose sums are not known', (sm) => {
    const schedule = [{ sm: 80, warps: [[8192, 4]] }];
    const own = { ...declared, arithmetic: { ...declared.arithmetic, schedule } };
    expect(capabilities(own, { sm }).arithmetic?.schedule).toBeUndefined();
  });

  it('accepts a kernel that declares no arithmetic', () => {
    expect(capabilities({ ...declared, arithmetic: null }).arithmetic).toBeNull();
  });

  it.each([
    ['formats', [], 'capabilities.formats'],
    ['formats', 7, 'capabilities.formats'],
    ['formats', [{ ...declared.formats[0], bits: [0] }], 'capabilities.formats[0].bits[0]'],
    ['formats', [{ ...declared.formats[0], kAxis: 'channel' }], 'capabilities.formats[0].kAxis'],
    ['layout', 'paged', 'capabilities.layout'],
    ['tokensMax', 1.5, 'capabilities.tokensMax'],
    ['headsPerKvMax', '8', 'capabilities.headsPerKvMax'],
    ['arithmetic', { operands: 'exact', sumLanes: 1 }, 'capabilities.arithmetic.operands'],
    ['arithmetic', { operands: 'folded', sumLanes: 0 }, 'capabilities.arithmetic.sumLanes'],
    ['arithmetic', undefined, 'capabilities.arithmetic'],
    [
      'arithmetic',
      { operands: 'folded', sumLanes: 8, schedule: [{ sm: 80, warps: [[8192, 4, 1]] }] },
      'capabilities.arithmetic.schedule[0].warps[0]',
    ],
    [
      'arithmetic',
      { operands: 'folded', sumLanes: 8, schedule: [{ warps: [[8192, 4]] }] },
      'capabilities.arithmetic.schedule[0].sm',
    ],
    [
      'arithmetic',
      {
        operands: 'folded',
        sumLanes: 8,
        schedule: [{ sm: 90, warps: [[8192, 4]], exponential: 'e' }],
      },
      'capabilities.arithmetic.schedule[0].exponential',
    ],
    ['tiles', [1, Number.NaN], 'capabilities.tiles[1]'],
    ['deterministic', 1, 'capabilities.deterministic'],
    ['batchInvariant', 'yes', 'capabilities.batchInvariant'],
    ['paged', 1, 'capabilities.paged'],
    ['queryTokensMax', 0, 'capabilities.queryTokensMax'],
    ['formats', [{ ...declared.formats[0], types: ['f32'] }], 'capabilities.formats[0].types[0]'],
  ])('names the field %s when it is %j', (field, value, where) => {
    const result = read({ ...declared, [field]: value });
    expect(result.kind).toBe('error');
    if (result.kind === 'error') expect(result.message.startsWith(`${where}: `)).toBe(true);
  });

  it('refuses text that is not JSON, or not an object', () => {
    for (const text of ['', '{', 'null', '[]', '7']) {
      expect(parseCapabilities(text, host).kind).toBe('error');
    }
  });
});
