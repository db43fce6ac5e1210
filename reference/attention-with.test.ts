// Tests of attention with options: the bits of attend without any, masks against a table worked out
// by hand, softcap, sinks and pages against the definition, and that unseen tokens are never read.
import { describe, expect, it } from 'vitest';
import { attend } from './attention.js';
import {
  type AttentionOptions,
  optionsError,
  type TokenRange,
  visibleRanges,
} from './attention-options.js';
import {
  type AttentionRows,
  cacheRows,
  pagedRows,
  pageTableError,
  plainRows,
} from './attention-rows.js';
import { attendWith } from './attention-with.js';
import { readCache, referenceCache } from './cache.js';
import { f64Array } from './format.js';
import type { Problem } from './problem.js';
import type { Scheme } from './scheme.js';
import { draws, normalF16 } from './simulated/draw.js';

const draw = draws(21);
const normal = (count: number) => Float64Array.from({ length: count }, () => draw.normal());
const inf = Number.POSITIVE_INFINITY;

/** One query by the definition: scores of the tokens that `sees` admits, in natural units. */
function textbook(
  head: { k: Float64Array; v: Float64Array; size: number },
  q: Float64Array,
  scale: number,
  sees: (j: number) => boolean,
  o: { softcap?: number; sink?: number } = {},
) {
  const { k, v, size } = head;
  const tokens = [...Array(k.length / size).keys()].filter(sees);
  const scores = tokens.map((j) => {
    let s = 0;
    for (let i = 0; i < size; i++) s += q[i] * k[j * size + i];
    return o.softcap ? o.softcap * Math.tanh((scale * s) / o.softcap) : scale * s;
  });
  const sink = o.sink ?? -inf;
  const max = Math.max(sink, ...scores);
  const weights = scores.map((s) => Math.exp(s - max));
  const sum = weights.reduce((a, b) => a + b, sink === -inf ? 0 : Math.exp(sink - max));
  const output = Array.from({ length: size }, (_, d) =>
    weights.reduce((total, w, n) => total + (w / sum) * v[tokens[n] * size + d], 0),
  );
  return { output, lse: max + Math.log(sum) };
}

function expectNear(found: ArrayLike<number>, expected: readonly number[], limit = 1e-13): void {
  const off = expected.map((x, i) => (x === found[i] ? 0 : Math.abs(found[i] - x)));
  expect(found.length).toBe(expected.length);
  expect(Math.max(...off)).toBeLessThan(limit);
}

describe('without options', () => {
  it('gives the bits of attend', () => {
    const p: Problem = { tokens: [130, 1, 0, 517], queryHeads: 6, kvHeads: 2, headSize: 128 };
    const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 32 };
    const q = normalF16(draw, 4 * 6 * 128);
    const [k, v] = [normalF16(draw, 648 * 256), normalF16(draw, 648 * 256)];
    const cache = referenceCache(p, scheme, k, v);
    const heads = readCache(p, scheme, cache.cache, cache.kResidual, cache.vResidual);
    const expected = attend(p, 0.1, q, heads);
    expect(attendWith(p, 0.1, f64Array(q), heads.map(cacheRows))).toEqual(expected);
    // Options that change nothing, spelled out.
    const idle = { queryTokens: [1, 1, 1, 1], causal: true, windowLeft: 600, sinkTokens: 3 };
    expect(attendWith(p, 0.1, f64Array(q), heads.map(cacheRows), idle)).toEqual(expected);
  });
});

describe('visibleRanges', () => {
  /** The tokens seen, by asking the definition for each. */
  function byDefinition(o: AttentionOptions, p: number, tokens: number): number[] {
    const right = o.causal ? 0 : (o.windowRight ?? inf);
    return [...Array(tokens).keys()].filter(
      (j) => j <= p + right && (j >= p - (o.windowLeft ?? inf) || j < (o.sinkTokens ?? 0)),
    );
  }
  const listed = (ranges: readonly TokenRange[]) =>
    ranges.flatMap(({ first, end }) => [...Array(end - first).keys()].map((i) => first + i));

  it('is the definition for every position and combination of small sizes', () => {
    for (const causal of [true, false]) {
      for (const windowLeft of [undefined, 0, 1, 3, 20]) {
        for (const windowRight of causal ? [undefined, 0] : [undefined, 0, 2]) {
          for (const sinkTokens of [undefined, 0, 1, 4, 30]) {
            const set = { windowLeft, windowRight, sinkTokens };
            const given = Object.entries(set).filter(([, value]) => value !== undefined);
            const o: AttentionOptions = { causal, ...Object.fromEntries(given) };
            for (let p = -3; p < 9; p++) {
              const ranges = visibleRanges(o, p, 9);
              expect(listed(ranges), JSON.stringify({ ...o, p })).toEqual(byDefinition(o, p, 9));
              expect(ranges.every(({ first, end }) => end > first)).toBe(true);
            }
          }
        }
      }
    }
  });

  it('written out: a causal window of 2 with 1 sink token over 6 tokens', () => {
    const o = { causal: true, windowLeft: 2, sinkTokens: 1 };
    const seen = [0, 1, 2, 3, 4, 5].map((p) => listed(visibleRanges(o, p, 6)).join(''));
    expect(seen).toEqual(['0', '01', '012', '0123', '0234', '0345']);
  });
});

describe('several query tokens', () => {
  const p: Problem = { tokens: [300, 5], queryHeads: 4, kvHeads: 2, headSize: 8 };
  const counts = [3, 2];
  const arrays = p.tokens.flatMap((tokens) =>
    [0, 1].map(() => ({ k: normal(tokens * 8), v: normal(tokens * 8), size: 8 })),
  );
  const heads = arrays.map(({ k, v }) => plainRows(k, v, 8));
  const q = normal(5 * 4 * 8);

  function check(o: AttentionOptions, sees: (position: number, j: number) => boolean): void {
    const found = attendWith(p, 0.5, q, heads, { ...o, queryTokens: counts });
    let row = 0;
    for (const [r, count] of counts.entries()) {
      for (let i = 0; i < count; i++) {
        const position = p.tokens[r] - count + i;
        for (let h = 0; h < 4; h++, row++) {
          const query = q.subarray(row * 8, row * 8 + 8);
          const head = arrays[r * 2 + (h >> 1)];
          const expected = textbook(head, query, 0.5, (j) => sees(position, j));
          expectNear(found.output.subarray(row * 8, row * 8 + 8), expected.output);
          expectNear([found.lse[row]], [expected.lse]);
        }
      }
    }
    expect(row).toBe(found.lse.length);
  }

  it('see everything without a mask', () => check({}, () => true));
  it('see no later token if causal', () => check({ causal: true }, (at, j) => j <= at));
  it('see a window', () =>
    check({ windowLeft: 130, windowRight: 1 }, (at, j) => j >= at - 130 && j <= at + 1));
  it('see a causal window and the sink tokens before it', () =>
    check(
      { causal: true, windowLeft: 40, sinkTokens: 4 },
      (at, j) => j <= at && (j >= at - 40 || j < 4),
    ));

  it('see a block of tokens that is not the last one of every query token', () => {
    const short: Problem = { tokens: [130], queryHeads: 1, kvHeads: 1, headSize: 8 };
    const head = { k: normal(130 * 8), v: normal(130 * 8), size: 8 };
    const rows = normal(3 * 8);
    const options = { queryTokens: [3], causal: true };
    const source = plainRows(head.k, head.v, 8);
    const { output, lse } = attendWith(short, 0.5, rows, [source], options);
    for (const i of [0, 1, 2]) {
      const part = [i * 8, i * 8 + 8] as const;
      const expected = textbook(head, rows.subarray(...part), 0.5, (j) => j <= 127 + i);
      expectNear(output.subarray(...part), expected.output);
      expectNear([lse[i]], [expected.lse]);
    }
  });

  it('see nothing before the first token: output 0, lse -Inf', () => {
    const small: Problem = { tokens: [2], queryHeads: 1, kvHeads: 1, headSize: 8 };
    const head = plainRows(normal(16), normal(16), 8);
    const options = { queryTokens: [4], causal: true };
    const { output, lse } = attendWith(small, 1, normal(32), [head], options);
    expect([...output.subarray(0, 16)]).toEqual(Array(16).fill(0));
    expect([...lse.subarray(0, 2)]).toEqual([-inf, -inf]);
    expect(lse.subarray(2).every(Number.isFinite)).toBe(true);
  });

  it('may be none for a request', () => {
    const options = { queryTokens: [0, 2] };
    const alone: Problem = { ...p, tokens: [5] };
    const rest = q.subarray(3 * 4 * 8);
    expect(attendWith(p, 0.5, rest, heads, options)).toEqual(
      attendWith(alone, 0.5, rest, heads.slice(2), { queryTokens: [2] }),
    );
  });

  it('the last one alone is decode attention', () => {
    const all = attendWith(p, 0.5, q, heads, { queryTokens: counts, causal: true });
    const last = Float64Array.from([...q.subarray(64, 96), ...q.subarray(128, 160)]);
    const decode = attendWith(p, 0.5, last, heads);
    expect([...all.lse.subarray(8, 12)]).toEqual([...decode.lse.subarray(0, 4)]);
    expect([...all.output.subarray(128, 160)]).toEqual([...decode.output.subarray(32)]);
  });
});

describe('softcap and sink logits', () => {
  const p: Problem = { tokens: [150], queryHeads: 2, kvHeads: 1, headSize: 8 };
  const head = { k: normal(1200), v: normal(1200), size: 8 };
  const rows = [plainRows(head.k, head.v, 8)];
  const q = normal(16);
  const queries = [q.subarray(0, 8), q.subarray(8)];

  it('softcap bends the scores before the softmax', () => {
    for (const softcap of [0.5, 3, 30]) {
      const found = attendWith(p, 2, q, rows, { softcap });
      for (const h of [0, 1]) {
        const expected = textbook(head, queries[h], 2, () => true, { softcap });
        expectNear(found.output.subarray(8 * h, 8 * h + 8), expected.output);
        expectNear([found.lse[h]], [expected.lse]);
      }
    }
  });

  it('a huge softcap changes almost nothing, a tiny one makes all tokens equal', () => {
    const plain = attendWith(p, 2, q, rows);
    expectNear(attendWith(p, 2, q, rows, { softcap: 2 ** 40 }).output, [...plain.output], 1e-12);
    const mean = attendWith(p, 2, new Float64Array(16), rows);
    expectNear(attendWith(p, 2, q, rows, { softcap: 1e-12 }).output, [...mean.output], 1e-11);
  });

  it('a sink takes weight and gives no value', () => {
    const sinkLogits = [-1.5, 7];
    const found = attendWith(p, 2, q, rows, { sinkLogits });
    for (const h of [0, 1]) {
      const expected = textbook(head, queries[h], 2, () => true, { sink: sinkLogits[h] });
      expectNear(found.output.subarray(8 * h, 8 * h + 8), expected.output);
      expectNear([found.lse[h]], [expected.lse]);
    }
  });

  it('a sink above all scores by 2000 leaves an output of 0 and its own logit', () => {
    const { output, lse } = attendWith(p, 2, q, rows, { sinkLogits: [2000, -inf] });
    expect([...output.subarray(0, 8)].map(Math.abs)).toEqual(Array(8).fill(0));
    expectNear([lse[0]], [2000], 1e-12);
    const plain = attendWith(p, 2, q, rows);
    expect([...output.subarray(8)]).toEqual([...plain.output.subarray(8)]);
  });

  it('a sink alone is what remains without tokens', () => {
    const none: Problem = { ...p, tokens: [0] };
    const empty = [plainRows(new Float64Array(0), new Float64Array(0), 8)];
    const { output, lse } = attendWith(none, 2, q, empty, { sinkLogits: [1, -2] });
    expect([...output]).toEqual(Array(16).fill(0));
    expectNear(lse, [1, -2], 1e-15);
  });
});

describe('what is not seen', () => {
  it('is not read: NaN and Inf outside the mask change no bit', () => {
    const p: Problem = { tokens: [400], queryHeads: 1, kvHeads: 1, headSize: 4 };
    const [k, v, q] = [normal(1600), normal(1600), normal(8)];
    const options = { queryTokens: [2], causal: true, windowLeft: 150, sinkTokens: 5 };
    const clean = attendWith(p, 1, q, [plainRows(k, v, 4)], options);
    const poison = (x: Float64Array, value: number) =>
      x.map((y, i) => (i >= 20 && i < 992 ? value : y));
    for (const value of [Number.NaN, inf, -inf]) {
      const rows = [plainRows(poison(k, value), poison(v, value), 4)];
      expect(attendWith(p, 1, q, rows, options)).toEqual(clean);
    }
    // Position 398 sees from token 248 on (element 992): one element earlier is seen.
    const seen = [plainRows(k.with(992, Number.NaN), v, 4)];
    expect(attendWith(p, 1, q, seen, options).output[0]).toBeNaN();
  });
});

describe('pages', () => {
  const p: Problem = { tokens: [37, 20], queryHeads: 4, kvHeads: 2, headSize: 4 };
  const pool = {
    ...{ pageTokens: 16, kvHeads: 2, headSize: 4 },
    keys: normal(7 * 16 * 8),
    values: normal(7 * 16 * 8),
  };
  const tables = [
    [5, 0, 2],
    [6, 5], // page 5 is shared
  ];
  const paged = tables.flatMap((pages, r) =>
    [0, 1].map((head) => pagedRows(pool, pages, p.tokens[r], head)),
  );
  const q = normal(2 * 4 * 4);

  function gathered(x: Float64Array, r: number, head: number): Float64Array {
    return Float64Array.from({ length: p.tokens[r] * 4 }, (_, i) => {
      const token = i >> 2;
      const slot = tables[r][token >> 4] * 16 + (token & 15);
      return x[(slot * 2 + head) * 4 + (i & 3)];
    });
  }

  it('give the bits of the same tokens in plain order', () => {
    const plain = [0, 1].flatMap((r) =>
      [0, 1].map((h) => plainRows(gathered(pool.keys, r, h), gathered(pool.values, r, h), 4)),
    );
    expect(attendWith(p, 1, q, paged)).toEqual(attendWith(p, 1, q, plain));
  });

  it('renaming physical pages changes nothing', () => {
    const rename = [3, 1, 6, 0, 2, 4, 5];
    const move = (x: Float64Array) => {
      const moved = new Float64Array(x.length);
      for (const [from, to] of rename.entries()) {
        moved.set(x.subarray(from * 128, (from + 1) * 128), to * 128);
      }
      return moved;
    };
    const renamed = { ...pool, keys: move(pool.keys), values: move(pool.values) };
    const rows = tables.flatMap((pages, r) =>
      [0, 1].map((head) => {
        const table = pages.map((page) => rename[page]);
        return pagedRows(renamed, table, p.tokens[r], head);
      }),
    );
    expect(attendWith(p, 1, q, rows)).toEqual(attendWith(p, 1, q, paged));
  });

  it('slots behind the last token and entries behind the last page are not read', () => {
    const keys = pool.keys.slice();
    keys.fill(Number.NaN, (2 * 16 + 5) * 8, 3 * 16 * 8); // page 2 holds tokens 32 to 36
    const rows = [0, 1].map((head) => pagedRows({ ...pool, keys }, [5, 0, 2, -1], 37, head));
    const one: Problem = { ...p, tokens: [37] };
    const first = q.subarray(0, 16);
    expect(attendWith(one, 1, first, rows)).toEqual(attendWith(one, 1, first, paged.slice(0, 2)));
  });

  it('a bad table or pool is refused by name', () => {
    expect(pageTableError(pool, [5, 0], 37)).toBe('pages: 2 entries, 3 are required for 37 tokens');
    expect(pageTableError(pool, [5, 7, 2], 37)).toBe('pages[1]: 7 is not one of 7 pages');
    expect(pageTableError(pool, [9, 0, 2], 37)).toBe('pages[0]: 9 is not one of 7 pages');
    expect(pageTableError(pool, [5, -1, 2], 37)).toBe('pages[1]: -1 is not one of 7 pages');
    expect(pageTableError({ ...pool, pageTokens: 0 }, [0], 3)).toMatch(/^pool: 0 tokens/);
    expect(pageTableError({ ...pool, keys: normal(5) }, [0], 3)).toMatch(
      /^pool: lengths 5 and 896/,
    );
    // Whole pages, but not as many.
    expect(pageTableError({ ...pool, values: normal(768) }, [0], 3)).toMatch(
      /^pool: lengths 896 and 768/,
    );
    const uneven = { keys: normal(5), values: normal(5) };
    expect(pageTableError({ ...pool, ...uneven }, [0], 3)).toMatch(/^pool: lengths 5 and 5/);
    expect(() => pagedRows(pool, [], 1, 0)).toThrow('pages: 0 entries');
  });
});

describe('bad input', () => {
  const p: Problem = { tokens: [3, 4], queryHeads: 2, kvHeads: 1, headSize: 4 };
  const rows: AttentionRows[] = [12, 16].map((n) => plainRows(normal(n), normal(n), 4));

  it('options are refused by name, in one sentence', () => {
    const wrong: [string, AttentionOptions][] = [
      ['windowLeft', { windowLeft: -1 }],
      ['windowRight', { windowRight: 1.5 }],
      ['windowRight', { causal: true, windowRight: 2 }],
      ['sinkTokens', { sinkTokens: Number.NaN }],
      ['queryTokens', { queryTokens: [1] }],
      ['queryTokens\\[1\\]', { queryTokens: [1, -2] }],
      ['softcap', { softcap: 0 }],
      ['softcap', { softcap: inf }],
      ['softcap', { softcap: Number.NaN }],
      ['sinkLogits', { sinkLogits: [1] }],
      ['sinkLogits\\[1\\]', { sinkLogits: [1, Number.NaN] }],
      ['sinkLogits\\[0\\]', { sinkLogits: [inf, 1] }],
    ];
    for (const [field, options] of wrong) {
      expect(optionsError(p, options)).toMatch(new RegExp(`^options\\.${field}: [^\n]+$`));
      expect(() => attendWith(p, 1, normal(16), rows, options)).toThrow(RangeError);
    }
    expect(optionsError(p, { causal: true, windowRight: 0, softcap: 30 })).toBeNull();
    expect(optionsError({ ...p, kvHeads: 0 }, {})).toMatch(/^problem\.kvHeads/);
  });

  it('arrays of another size are refused', () => {
    expect(() => attendWith(p, 1, normal(15), rows)).toThrow('q: length 15, 16 is required');
    expect(() => attendWith(p, 1, normal(16), rows.slice(1))).toThrow('heads: length 1, 2');
    expect(() => attendWith(p, 1, normal(16), [...rows].reverse())).toThrow('heads[0].tokens');
    expect(() => plainRows(normal(8), normal(4), 4)).toThrow('k and v');
    expect(() => plainRows(normal(6), normal(6), 4)).toThrow('k and v: lengths 6 and 6');
    const four = [rows[0], rows[0], rows[1], rows[0]];
    expect(() => attendWith({ ...p, kvHeads: 2 }, 1, normal(16), four)).toThrow(
      'heads[3].tokens: length 3, 4 is required',
    );
  });
});
