// What each drawn distribution means: one function a name, filling one row (one token of one head)
// with x in units; materialize.ts makes 2^scale * (offset + x) of it, rounded to fp16.
//
// A row depends on its own coordinates only (request, head, position, channel), never on the shape,
// so that a case that loses a request or a head while it shrinks keeps the values of the rest.
// Integer operations and + - * / only (see generator.ts). Each entry says which bugs it is for.

import { recordTokens } from '../reference/scheme.js';
import {
  BLOCK,
  type Drawing,
  type FillRow,
  fill,
  headKey,
  type Row,
  rowKey,
  sign,
} from './drawing.js';
import { below, derive, type Key, normal, uniform, word } from './generator.js';
import { nonFinite, nonFiniteGroups, nonFiniteLast } from './non-finite.js';
import type { Distribution } from './recipe.js';

/** Position along the axis on which groups run. */
function alongGroup(drawing: Drawing, row: Row, channel: number): number {
  return drawing.groupsAlongTokens ? row.position : channel;
}

/** Every group holds level 0 and level `last`, so its minimum and range are known exactly. */
function levels(drawing: Drawing, row: Row, x: Float64Array, last: number, unit: number): void {
  const key = rowKey(drawing.key, row);
  fill(x, (channel) => {
    const place = alongGroup(drawing, row, channel) % BLOCK;
    if (place < 2) return place * last * unit;
    return below(key, channel, last + 1) * unit;
  });
}

/** Integers up to here are fp16 numbers, and so are their halves below. */
const EXACT_MAX = 2048;
/** Place of a draw beside those of channels. */
const UNEVEN = 0x756e6576;

/** One row is a pattern of large entries, the others are normal: its score stands out. */
function standOut(drawing: Drawing, row: Row, x: Float64Array, position: number): void {
  const head = headKey(drawing.key, row);
  const key = rowKey(drawing.key, row);
  const large = row.position === position;
  fill(x, (channel) => (large ? 16 * sign(head, channel) : normal(key, channel)));
}

/** Key of the block of 32 x 32 (token, channel) that an element lies in. */
function blockKey(drawing: Drawing, row: Row, channel: number): Key {
  const request = derive(derive(drawing.key, row.request), row.head);
  const band = derive(derive(request, 0x62616e64), Math.floor(row.position / BLOCK));
  return derive(band, Math.floor(channel / BLOCK));
}

/** Blocks of 32 x 32 that have nothing in common with their neighbours. */
function patchwork(drawing: Drawing, row: Row, x: Float64Array): void {
  const key = rowKey(drawing.key, row);
  fill(x, (channel) => {
    const block = blockKey(drawing, row, channel);
    const n = normal(key, channel);
    const inBlock = (row.position % BLOCK) * BLOCK + (channel % BLOCK);
    switch (word(block, 0) & 7) {
      case 0:
        return 0;
      case 1:
        return normal(block, 1);
      case 2:
        return n * 64;
      case 3:
        return n / 256;
      case 4:
        return 64 + n / 16;
      case 5:
        return below(block, 4, BLOCK * BLOCK) === inBlock ? 256 * sign(block, 5) : n / 64;
      default:
        return n;
    }
  });
}

/**
 * Blocks alternate along the axis of the groups: one value throughout, or small with one outlier.
 */
function outlierGroup(drawing: Drawing, row: Row, x: Float64Array): void {
  const key = rowKey(drawing.key, row);
  fill(x, (channel) => {
    const place = alongGroup(drawing, row, channel);
    const block = blockKey(drawing, row, channel);
    if (Math.floor(place / BLOCK) & 1) return below(block, 0, 17) - 8;
    // One outlier in a group of the block: for each line across the axis its own place.
    const across = drawing.groupsAlongTokens ? channel : row.position;
    const outlier = below(derive(block, across % BLOCK), 1, BLOCK) === place % BLOCK;
    return outlier ? 1024 * sign(block, 2 + (across % BLOCK)) : normal(key, channel) / 16;
  });
}

/** Powers of two from 2^-24 to 2^15. */
const BINADES = 40;

/** Any fp16 number, every exponent as often as any other. */
function anyExponent(key: Key, channel: number): number {
  const w = word(key, channel);
  let power = 1 / 16777216;
  for (let i = (w >>> 1) % BINADES; i > 0; i--) power *= 2;
  const value = power * (1 + (w >>> 22) / 1024);
  return w & 1 ? value : -value;
}

/**
 * The power of two of a line, from 0 to reach - 1: any, of each channel, token or block of 32 x 32;
 * one for two tokens, falling as they come; one for 64, falling or rising; or 0 but for the largest
 * of one channel or token in 16, or in 128, so that there may be one of them.
 */
function binadeOf(drawing: Drawing, row: Row, channel: number, head: Key, reach: number): number {
  const kind = word(head, 1) & 7;
  const others = word(head, 1) & 8 ? 15 : 127;
  const line = kind & 1 ? derive(head, row.request + 2) : head;
  const place = kind & 1 ? row.position : channel;
  switch (kind) {
    case 0:
    case 1:
      return below(line, 2 + place, reach);
    case 2:
      return below(blockKey(drawing, row, channel), 6, reach);
    case 3:
      return reach - 1 - ((row.position >>> 1) % reach);
    case 5: {
      const steps = (row.position >>> 6) % reach;
      return word(head, 1) & 16 ? reach - 1 - steps : steps;
    }
    default:
      return (word(line, 2 + place) & others) === 0 ? reach - 1 : 0;
  }
}

/** Normal values in lines of very different magnitude, 2^5 to 2^23 apart, around 1. */
function binades(drawing: Drawing, row: Row, x: Float64Array): void {
  const key = rowKey(drawing.key, row);
  const head = derive(headKey(drawing.key, row), 0x62696e61);
  const reach = 6 * (1 + (word(head, 0) & 3));
  fill(x, (channel) => {
    let value = normal(key, channel);
    const power = binadeOf(drawing, row, channel, head, reach) - (reach >>> 1);
    for (let i = 0; i < power; i++) value *= 2;
    for (let i = 0; i > power; i--) value /= 2;
    return value;
  });
}

/** Places of draws beside those of channels. */
const SIDE = 0x20000;

/**
 * Normal values made to have one sign throughout, but for about one channel in 64, or for runs of
 * 16: these have the other sign, are zero, or are 2^12 times smaller, of either sign.
 */
function oneSided(drawing: Drawing, row: Row, x: Float64Array): void {
  const key = rowKey(drawing.key, row);
  const kind = word(key, SIDE);
  const side = kind & 8 ? 1 : -1;
  fill(x, (channel) => {
    const value = side * (Math.abs(normal(key, channel)) + 1 / 64);
    const isOther =
      kind & 4
        ? (word(key, SIDE + 1 + (channel >> 4)) & 3) === 0
        : (word(key, SIDE + 1 + channel) & 63) === 0;
    return isOther ? [-value, 0, -value / 4096, value / 4096][kind & 3] : value;
  });
}

/** Bits between one grade and the next. */
export const GRADE_BITS = 8;
const GRADES: Key = { a: 0x67726164, b: 0x65730000 };

/**
 * 0 to 3: any for each token, or rising or falling within 64. No seed has a part in it, so that
 * tensors of different seeds agree about it.
 */
function gradeOf(row: Row): number {
  const head = derive(derive(GRADES, row.request), row.head);
  const kind = word(head, 0) & 3;
  if (kind < 2) return word(head, 1 + row.position) & 3;
  const step = (row.position >>> 4) & 3;
  return kind === 2 ? step : 3 - step;
}

/** The token of the record before for those of every other record. */
function pairedPosition(position: number): number {
  return Math.floor(position / recordTokens) & 1 ? position - recordTokens : position;
}

export const FILL: Readonly<Record<Distribution, FillRow>> = {
  /** Exactly 0, whatever scale and offset: groups without range, uniform weights. */
  zero: (_d, _r, x) => x.fill(0),
  /** 1: groups without range away from zero. */
  constant: (_d, _r, x) => x.fill(1),
  /** +-1 by parity: every sum cancels. */
  alternating: (_d, r, x) => fill(x, (channel) => ((r.position + channel) & 1 ? -1 : 1)),
  /** Names its head: head mapping. */
  'ramp-head': (_d, r, x) => x.fill(r.head + 1),
  /** Names its channel: order of packed fields. */
  'ramp-channel': (_d, _r, x) => fill(x, (channel) => channel / 16),
  /** Rises along the sequence: rescaling of the running softmax, tails. */
  'ramp-token': (_d, r, x) => x.fill(r.position / 64),
  /** The grade of the token, 0 to 3: as K, weights that are far apart. */
  graded: (_d, r, x) => x.fill(gradeOf(r)),
  /** All tokens of a head alike: equal weights however many tokens there are. */
  'repeated-token': (d, r, x) => {
    const key = headKey(d.key, r);
    fill(x, (channel) => normal(key, channel));
  },
  uniform: (d, r, x) => {
    const key = rowKey(d.key, r);
    fill(x, (channel) => uniform(key, channel));
  },
  normal: (d, r, x) => {
    const key = rowKey(d.key, r);
    fill(x, (channel) => normal(key, channel));
  },
  /**
   * Normal, 2^8 times smaller with each grade: as V of graded K the smallest weights count as much
   * as the largest, and what they lose shows.
   */
  'counter-graded': (d, r, x) => {
    const key = rowKey(d.key, r);
    const unit = 2 ** (-GRADE_BITS * gradeOf(r));
    fill(x, (channel) => normal(key, channel) * unit);
  },
  /** The tokens of two records at a time are all alike: two records with one sum of weights. */
  'paired-records': (d, r, x) => {
    const position = r.position - (r.position % (2 * recordTokens));
    const key = rowKey(d.key, { ...r, position });
    fill(x, (channel) => normal(key, channel));
  },
  /**
   * Every other record is the negative of the one before, on a grid that both lie on: as V of
   * paired records they cancel to nothing but what sums were rounded to, and so show their order.
   */
  'opposite-records': (d, r, x) => {
    const position = pairedPosition(r.position);
    levels(d, { ...r, position }, x, d.codeMax, 1);
    const side = position === r.position ? 1 : -1;
    fill(x, (channel) => side * (x[channel] - d.codeMax / 2));
  },
  /** On the quantisation grid (integers 0..codeMax): codes are exact and nothing is lost. */
  grid: (d, r, x) => levels(d, r, x, d.codeMax, 1),
  /** Half way between codes as often as on them: rounding rules. */
  ties: (d, r, x) => levels(d, r, x, 2 * d.codeMax, 0.5),
  /**
   * The same with a step that is an odd number, so that the inverse of the range is rounded and
   * values half way between two codes fall just short of it or just beyond.
   */
  'uneven-ties': (d, r, x) => {
    const last = 2 * d.codeMax;
    const steps = Math.max(1, Math.floor(EXACT_MAX / last + 1) >> 1);
    const odd = 2 * below(headKey(d.key, r), UNEVEN, steps) + 1;
    levels(d, r, x, last, odd / 2);
  },
  /** Multiples of 2^-24 below 2^-14. */
  subnormal: (d, r, x) => {
    const key = rowKey(d.key, r);
    fill(x, (channel) => (below(key, channel, 2047) - 1023) / 16777216);
  },
  /** Both signs, from 2^15 to the largest fp16: ranges that fp16 cannot hold. */
  'near-overflow': (d, r, x) => {
    const key = rowKey(d.key, r);
    fill(x, (channel) => {
      const w = word(key, channel);
      return (w & 1 ? 1 : -1) * (32768 + 32 * (w >>> 22));
    });
  },
  /** The cube of a normal variable: most values small, a few large. */
  'heavy-tail': (d, r, x) => {
    const key = rowKey(d.key, r);
    fill(x, (channel) => {
      const n = normal(key, channel);
      return n * n * n;
    });
  },
  /** Every magnitude that fp16 has, in every group. */
  'all-exponents': (d, r, x) => {
    const key = rowKey(d.key, r);
    fill(x, (channel) => anyExponent(key, channel));
  },
  /** +0 and -0 in one group (for scales up to 2^15 this rounds to a zero with its sign). */
  'signed-zero': (d, r, x) => {
    const key = rowKey(d.key, r);
    fill(x, (channel) => sign(key, channel) / 2199023255552);
  },
  /** About one channel in 16 is 32 times as large and biased, as in trained K caches. */
  'outlier-channels': (d, r, x) => {
    const key = rowKey(d.key, r);
    const head = headKey(d.key, r);
    fill(x, (channel) => {
      const n = normal(key, channel);
      return (word(head, channel) & 15) === 0 ? 32 * (n + 2) : n;
    });
  },
  /** The first token stands out. */
  sink: (d, r, x) => standOut(d, r, x, 0),
  /** A token chosen by request and head stands out. */
  needle: (d, r, x) => {
    const place = derive(derive(d.key, r.request), 0x6e64 + r.head);
    standOut(d, r, x, Math.floor((word(place, 0) / 0x100000000) * r.tokens));
  },
  /** One token, by request and head, 2048 times as large: as V it drowns the rest. */
  'huge-token': (d, r, x) => {
    const key = rowKey(d.key, r);
    const place = derive(derive(d.key, r.request), 0x68746f6b + r.head);
    const huge = Math.floor((word(place, 0) / 0x100000000) * r.tokens) === r.position;
    fill(x, (channel) => normal(key, channel) * (huge ? 2048 : 1));
  },
  /** A group with one outlier beside a constant one: parameters taken from the neighbour. */
  'outlier-group': outlierGroup,
  /** Subnormal blocks beside blocks near overflow: products and sums over all of fp16. */
  extremes: (d, r, x) => {
    const key = rowKey(d.key, r);
    fill(x, (channel) => {
      const w = word(key, channel);
      const large = word(blockKey(d, r, channel), 0) & 1;
      if (large) return (w & 1 ? 1 : -1) * (32768 + 32 * (w >>> 22));
      return (below(key, channel, 2047) - 1023) / 16777216;
    });
  },
  /** Neighbouring groups that differ in everything: parameters taken from the wrong place. */
  patchwork,
  /** Signs and zeros that few elements decide: what an infinity times a sum of them becomes. */
  'one-sided': oneSided,
  /** Scales far apart: sums that one of them decides, parameters that another one's unit loses. */
  binades,
  /** Normal with about one element in 1024 NaN, +Inf or -Inf: containment. */
  'non-finite': nonFinite,
  /** Whole groups and whole rows of NaN or infinities: ranges of infinity less infinity. */
  'non-finite-groups': nonFiniteGroups,
  /** What the last query token alone sees: containment among query tokens. */
  'non-finite-last': nonFiniteLast,
};
