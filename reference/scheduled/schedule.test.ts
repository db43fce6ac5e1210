// Tests of schedule.ts: who takes which tokens, and in which order channels lie, on small cases
// that are written out.
import { describe, expect, it } from 'vitest';
import type { HeadCache } from '../cache.js';
import type { Scheme } from '../scheme.js';
import { dealParts, fieldWeight, partTokens, warpCount, wideChannel } from './schedule.js';

const packed: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 32 };
const plain: Scheme = { format: 'fp16', kAxis: 'channel', bits: 16, group: 128 };

/** A head with `recorded` tokens in records and what else `tokens` has behind them. */
function headOf(scheme: Scheme, headSize: number, tokens: number, recorded: number): HeadCache {
  const words = (count: number) => new Uint16Array(count * headSize);
  const codes = new Uint8Array(scheme === plain ? 0 : recorded * headSize);
  const rows = scheme === plain ? recorded + (tokens % 128) : Math.max(tokens - recorded, 0);
  return {
    ...{ scheme, headSize, tokens, type: 'fp16' as const },
    packed: scheme === plain ? 0 : recorded,
    k: { codes, scales: words(0), zeros: words(0) },
    v: { codes, scales: words(0), zeros: words(0) },
    kResidual: words(rows),
    vResidual: words(rows),
  };
}

/** Parts as [first, end], tails as [first, end, 'tail']. */
const dealt = (head: HeadCache, warps: number, splits: number) =>
  dealParts(head, warps, splits).map((split) =>
    split.map((parts) =>
      parts.map(({ first, end, isTail }) => (isTail ? [first, end, 'tail'] : [first, end])),
    ),
  );

describe('a part', () => {
  it('is a record of codes, or 8 KiB of rows of K', () => {
    expect(partTokens(packed, 64)).toBe(128);
    expect(partTokens(packed, 256)).toBe(128);
    expect([64, 128, 256].map((size) => partTokens(plain, size))).toEqual([64, 32, 16]);
  });

  it('of so many bytes has the warps of the first limit that it keeps', () => {
    const schedule = {
      warps: [
        [4096, 4],
        [8192, 2],
      ] as const,
    };
    const warps = (bits: 2 | 4 | 8, headSize: number) =>
      warpCount(schedule, { ...packed, bits }, headSize);
    expect(warps(4, 64)).toBe(4); // 4096 bytes
    expect(warps(2, 256)).toBe(2); // 8192 bytes
    expect(warps(8, 64)).toBe(2);
    expect(warps(4, 256)).toBeNull(); // 16384 bytes
    expect(warpCount(schedule, plain, 128)).toBe(2);
    expect(warpCount({ warps: [] }, plain, 128)).toBeNull();
  });
});

describe('parts of records', () => {
  it('go to the warps of a split in turn', () => {
    expect(dealt(headOf(packed, 64, 640, 640), 2, 1)).toEqual([
      [
        [
          [0, 128],
          [256, 384],
          [512, 640],
        ],
        [
          [128, 256],
          [384, 512],
        ],
      ],
    ]);
  });

  it('are cut into splits by the floor of their share, each beginning with its warp 0', () => {
    expect(dealt(headOf(packed, 64, 640, 640), 2, 3)).toEqual([
      [[[0, 128]], []],
      [[[128, 256]], [[256, 384]]],
      [[[384, 512]], [[512, 640]]],
    ]);
  });

  it('leave a split without a record empty', () => {
    expect(dealt(headOf(packed, 64, 128, 128), 1, 2)).toEqual([[[]], [[[0, 128]]]]);
  });
});

describe('the tail', () => {
  it('belongs to the last split, to the warp that is next in turn', () => {
    const tail = [384, 391, 'tail'];
    const head = headOf(packed, 64, 391, 384);
    expect(dealt(head, 2, 2)).toEqual([
      [[[0, 128]], []],
      [[[128, 256], tail], [[256, 384]]],
    ]);
    expect(dealt(head, 3, 1)).toEqual([[[[0, 128], tail], [[128, 256]], [[256, 384]]]]);
    expect(dealt(head, 2, 1)).toEqual([
      [
        [
          [0, 128],
          [256, 384],
        ],
        [[128, 256], tail],
      ],
    ]);
  });

  it('comes where the parts of its own split have got to', () => {
    expect(dealt(headOf(packed, 64, 641, 640), 3, 2)).toEqual([
      [[[0, 128]], [[128, 256]], []],
      [
        [
          [256, 384],
          [640, 641, 'tail'],
        ],
        [[384, 512]],
        [[512, 640]],
      ],
    ]);
    expect(dealt(headOf(packed, 64, 513, 512), 3, 2)[1]).toEqual([
      [[256, 384]],
      [[384, 512]],
      [[512, 513, 'tail']],
    ]);
  });

  it('is all there is of a short request', () => {
    expect(dealt(headOf(packed, 64, 5, 0), 2, 2)).toEqual([
      [[], []],
      [[[0, 5, 'tail']], []],
    ]);
  });
});

describe('what a row does not see', () => {
  it('is left out of its parts, and so is a tail behind it', () => {
    const [one, other] = [
      [
        [0, 128],
        [256, 300],
      ],
      [[128, 256]],
    ];
    expect(dealt(headOf(packed, 64, 300, 640), 2, 1)).toEqual([[one, other]]);
    expect(dealt(headOf(packed, 64, 256, 256), 2, 1)).toEqual([[[[0, 128]], [[128, 256]]]]);
  });

  it('does not move what it sees to another split', () => {
    expect(dealt(headOf(packed, 64, 200, 512), 1, 2)).toEqual([
      [
        [
          [0, 128],
          [128, 200],
        ],
      ],
      [[]],
    ]);
  });
});

describe('plain rows', () => {
  it('are dealt in parts of 8 KiB, records in splits, what fills none as the tail', () => {
    // A record of 128 tokens of 256 channels is eight parts of 16.
    const parts = dealt(headOf(plain, 256, 130, 128), 4, 1);
    expect(parts).toEqual([
      [
        [
          [0, 16],
          [64, 80],
          [128, 130, 'tail'],
        ],
        [
          [16, 32],
          [80, 96],
        ],
        [
          [32, 48],
          [96, 112],
        ],
        [
          [48, 64],
          [112, 128],
        ],
      ],
    ]);
    expect(dealt(headOf(plain, 64, 257, 256), 1, 2)).toEqual([
      [
        [
          [0, 64],
          [64, 128],
        ],
      ],
      [
        [
          [128, 192],
          [192, 256],
          [256, 257, 'tail'],
        ],
      ],
    ]);
  });
});

describe('the order of channels of plain rows', () => {
  it('gives a lane four pairs that lie together', () => {
    const order = Array.from({ length: 32 }, (_, k) => wideChannel(k));
    // Products 8 i + 2 lane and the next one are pair i of the lane's eight channels.
    expect(order).toEqual(
      Array.from({ length: 32 }, (_, k) => {
        const [i, lane] = [Math.floor(k / 8), Math.floor((k % 8) / 2)];
        return 8 * lane + 2 * i + (k % 2);
      }),
    );
    expect(Array.from({ length: 4 }, (_, k) => wideChannel(32 + 8 * k))).toEqual([32, 34, 36, 38]);
    const all = Array.from({ length: 256 }, (_, k) => wideChannel(k));
    expect([...all].sort((a, b) => a - b)).toEqual(all.map((_, k) => k));
  });
});

describe('the weight of a field', () => {
  it('is 4 of 4-bit codes in the upper half of 16 columns, none of bytes', () => {
    for (let column = 0; column < 64; column++) {
      expect(fieldWeight(8, column)).toBe(0);
      expect(fieldWeight(4, column)).toBe(column % 16 < 8 ? 0 : 4);
      expect(fieldWeight(2, column)).toBe(
        2 * (Math.floor(column / 8) % 2) + (column % 32 < 16 ? 0 : 4),
      );
    }
  });
});
