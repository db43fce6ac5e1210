// fitted: a generated case whose fields go together as the kernel declares it. Scheme, head size
// and type are drawn apart from each other, but a declaration is a list of entries: each says which
// combinations it has. The scheme stays; head size and type move to an entry that has it.
//
// The real cache has one head size; at another one a slice of it becomes normal numbers.

import type fc from 'fast-check';
import { elementType } from '../../reference/problem.js';
import type { Case } from '../case.js';
import type { Capabilities, FormatSupport } from '../kernel.js';
import type { Recipe } from '../recipe.js';
import { withinBudget } from './problem.js';

/** Head size of corpus/code-lm. */
const CODE_LM_HEAD_SIZE = 128;

const typesOf = ({ types = ['fp16'] }: FormatSupport) => types;

/** A value that the list has: the drawn one, or another. */
function within<T>(random: fc.Random, drawn: T, list: readonly T[]): T {
  return list.includes(drawn) ? drawn : list[random.nextInt(0, list.length - 1)];
}

function elsewhere(recipe: Recipe, headSize: number): Recipe {
  if (recipe.distribution !== 'code-lm' || headSize === CODE_LM_HEAD_SIZE) return recipe;
  return { distribution: 'normal', seed: recipe.firstToken, scale: 0, offset: 0 };
}

export function fitted(
  random: fc.Random,
  c: Case,
  { formats }: Capabilities,
  multiplyAddsMax: number,
): Case {
  const { scheme, problem, tensors } = c;
  const { headSize } = problem;
  const type = elementType(problem);
  const entries = formats.filter(
    (f) =>
      f.format === scheme.format &&
      f.kAxis.includes(scheme.kAxis) &&
      f.bits.includes(scheme.bits) &&
      f.groups.includes(scheme.group),
  );
  const isAt = (f: FormatSupport) => f.headSizes.includes(headSize) && typesOf(f).includes(type);
  const entry =
    entries.find(isAt) ?? entries.find((f) => f.headSizes.includes(headSize)) ?? entries[0];
  if (entry === undefined) return c;
  const ownSize = within(random, headSize, entry.headSizes);
  const ownType = within(random, type, typesOf(entry));
  const { type: _t, ...rest } = problem;
  const moved = {
    ...rest,
    headSize: ownSize,
    ...(ownType === 'fp16' ? {} : { type: ownType }),
  };
  const [q, k, v] = [tensors.q, tensors.k, tensors.v].map((x) => elsewhere(x, ownSize));
  return { ...c, problem: withinBudget(moved, multiplyAddsMax), tensors: { q, k, v } };
}
