// Choice: which properties of a list a campaign judges on a generated case. Decided by the name of
// the case, so that it is the same on every machine, and by nothing that shrinking looks at:
// whoever shrinks or replays a case names the properties and gets all of them.

import { type Case, caseHash } from './case.js';
import { keyOf, word } from './generator.js';
import { fnv1a64 } from './hash.js';
import type { Property } from './property.js';

export function chosenProperties(all: readonly Property[], c: Case): readonly Property[] {
  const name = caseHash(c);
  const seed = Number.parseInt(name.slice(8), 16);
  return all.filter((property) => {
    const { oneIn = 1 } = property;
    const stream = Number.parseInt(fnv1a64(property.name).slice(0, 8), 16);
    return word(keyOf(seed, stream), 0) % oneIn === 0;
  });
}
