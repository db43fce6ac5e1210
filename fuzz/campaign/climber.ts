// climber.ts - where to look next, from what was seen so far: uphill, and into the unknown.
//
// Two aims in turn. Uphill: for each property the case that came closest to its bound is kept, and
// a neighbour of it is proposed; one that comes closer takes its place, and a case whose neighbours
// bring nothing for a while gives way to whatever comes next (hill climbing with restarts).
// Unknown: of some draws the one that lies in the cells of the domain that fewest cases have
// reached (properties/coverage-cell.ts). A draw costs a hundredth of a case, so the choice is
// nearly free.
//
// What is proposed is a function of the seed and of what was noted, in order: equal runs climb
// alike. Nothing runs here.

import type * as fc from 'fast-check';
import { type Case, caseHash, multiplyAdds } from '../../properties/case.js';
import { coverageOf } from '../../properties/coverage-cell.js';
import { undeclared } from '../../properties/declared.js';
import { caseArbitrary, defaultSpace } from '../../properties/index.js';
import type { Capabilities } from '../../properties/kernel.js';
import { CASE_SPACE } from './plan.js';
import type { CaseRecord } from './pool.js';
import { drawAt, type Seed, streamOf } from './seed.js';

/** Streams of draws, apart from those of a plan. */
const DRAWS_FROM = 1 << 26;
const CHOICES_FROM = 1 << 27;
/** Draws from which the one in the rarest cells is taken. */
const DRAWS = 8;
/** Neighbours that may bring nothing before a case gives way. */
const PATIENCE = 64;

interface Peak {
  readonly case: Case;
  readonly ratio: number;
  misses: number;
}

export class Climber {
  private readonly arbitrary: fc.Arbitrary<Case>;
  private readonly peaks = new Map<string, Peak>();
  private readonly reached = new Map<string, number>();
  /** By the hash of a proposed case: the property that it climbs on. */
  private readonly climbing = new Map<string, string>();

  constructor(
    private readonly capabilities: Capabilities,
    private readonly seed: Seed,
  ) {
    this.arbitrary = caseArbitrary(capabilities, CASE_SPACE);
  }

  /** Largest error divided by its bound that was seen, by property. */
  readonly heights = new Map<string, number>();

  /** How many cells cases have reached. */
  get cells(): number {
    return this.reached.size;
  }

  note({ planned, verdicts }: CaseRecord): void {
    const { case: c, hash } = planned;
    if (verdicts.every(({ verdict }) => verdict.kind === 'unsupported')) return;
    for (const cell of coverageOf(c)) this.reached.set(cell, (this.reached.get(cell) ?? 0) + 1);
    const aim = this.climbing.get(hash);
    this.climbing.delete(hash);
    for (const { property, verdict } of verdicts) {
      if (verdict.kind !== 'pass' || verdict.ratio === 0) continue;
      this.heights.set(property, Math.max(verdict.ratio, this.heights.get(property) ?? 0));
      const peak = this.peaks.get(property);
      const isTired = peak !== undefined && peak.misses > PATIENCE;
      if (peak === undefined || isTired || verdict.ratio > peak.ratio) {
        this.peaks.set(property, { case: c, ratio: verdict.ratio, misses: 0 });
      } else if (property === aim) {
        peak.misses += 1;
      }
    }
  }

  /** Case number `index` of a climb. */
  propose(index: number): Case {
    const random = streamOf(this.seed, CHOICES_FROM + index);
    const properties = [...this.peaks.keys()].sort();
    if (index % 2 === 1 || properties.length === 0) return this.rarest(index);
    const property = properties[random.nextInt(0, properties.length - 1)];
    const peak = this.peaks.get(property) as Peak;
    const c = this.neighbour(random, peak.case, this.draw(index, 0));
    this.climbing.set(caseHash(c), property);
    return c;
  }

  private draw(index: number, which: number): Case {
    return drawAt(this.arbitrary, this.seed, DRAWS_FROM + index * DRAWS + which);
  }

  private rarest(index: number): Case {
    const draws = Array.from({ length: DRAWS }, (_, i) => this.draw(index, i));
    const rarity = (c: Case) => {
      const counts = coverageOf(c).map((cell) => 1 / (1 + (this.reached.get(cell) ?? 0)));
      return counts.reduce((sum, x) => sum + x, 0);
    };
    const best = draws.map(rarity);
    return draws[best.indexOf(Math.max(...best))];
  }

  /** One or two parts of a case replaced by those of a draw, or moved a little; else the draw. */
  private neighbour(random: fc.Random, c: Case, drawn: Case): Case {
    let moved = c;
    for (let i = random.nextInt(1, 2); i > 0; i--) {
      moved = MOVES[random.nextInt(0, MOVES.length - 1)](random, moved, drawn);
    }
    const isCheap = multiplyAdds(moved.problem) <= defaultSpace.multiplyAddsMax;
    return isCheap && undeclared(this.capabilities, moved) === null ? moved : drawn;
  }
}

type Move = (random: fc.Random, c: Case, drawn: Case) => Case;

const TENSORS = ['q', 'k', 'v'] as const;

const MOVES: readonly Move[] = [
  // The values of one tensor.
  (random, c, { tensors }) => {
    const name = TENSORS[random.nextInt(0, 2)];
    return { ...c, tensors: { ...c.tensors, [name]: tensors[name] } };
  },
  // Other values of the same kind, larger or smaller ones, or with another mean.
  (random, c) => {
    const name = TENSORS[random.nextInt(0, 2)];
    const recipe = c.tensors[name];
    if (recipe.distribution === 'code-lm' || recipe.distribution === 'literal') return c;
    const scale = Math.min(15, Math.max(-24, recipe.scale + random.nextInt(-1, 1)));
    const offset = Math.min(2048, Math.max(-2048, recipe.offset + random.nextInt(-2, 2)));
    const seed = random.nextInt(0, 0x7fffffff);
    return { ...c, tensors: { ...c.tensors, [name]: { ...recipe, seed, scale, offset } } };
  },
  (_random, c, { options }) => ({
    ...c,
    options: { ...c.options, softmaxScale: options.softmaxScale },
  }),
  (_random, c, { options }) => ({ ...c, options: { ...c.options, splits: options.splits } }),
  (_random, c, { problem }) => ({ ...c, problem: { ...c.problem, tokens: problem.tokens } }),
  (random, c) => {
    const i = random.nextInt(0, c.problem.tokens.length - 1);
    const length = Math.max(0, c.problem.tokens[i] + random.nextInt(-129, 129));
    return { ...c, problem: { ...c.problem, tokens: c.problem.tokens.with(i, length) } };
  },
  (_random, c, { scheme }) => ({ ...c, scheme }),
];
