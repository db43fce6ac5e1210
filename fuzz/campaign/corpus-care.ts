// corpus-care.ts - which files of a corpus can go. A corpus grows with every campaign; what is kept
// is what still says something.
//
//   minimise   the fewest cases with every coverage cell (coverage-cell.ts) and every failure
//              signature that the corpus has: of equals, the cheaper one
//   prune      files that say what another file says already: the same case for the same signature;
//              and cases that none of the kernels supports
//
// A finding is a regression test for its signature, so that the cheapest finding of each signature
// stays whatever else goes. Nothing is removed here: the answer is a list.

import { type Case, caseHash, coverageOf, multiplyAdds } from '../../properties/index.js';
import type { StoredCase } from './case-file.js';

export interface Superfluous {
  readonly path: string;
  /** One sentence, after the path. */
  readonly why: string;
}

const signatureOf = ({ finding }: StoredCase): string | null =>
  finding === null ? null : `${finding.property} ${finding.signature}`;

/** What a file stands for. */
function meaningsOf(stored: StoredCase): string[] {
  const signature = signatureOf(stored);
  const cells = coverageOf(stored.case);
  return signature === null ? cells : [`signature ${signature}`, ...cells];
}

/** Cheapest first, then by name: the answer does not depend on the order of a folder. */
function byCost(a: StoredCase, b: StoredCase): number {
  const cost = ({ case: c }: StoredCase) => multiplyAdds(c.problem);
  return cost(a) - cost(b) || (a.path < b.path ? -1 : 1);
}

/**
 * Greedy cover: again and again the file with the most that no kept one has, within ln n of the
 * fewest that there are (Chvatal, Mathematics of Operations Research 4(3), 1979); then without the
 * files that later ones have made needless, the dearest first.
 */
export function minimised(stored: readonly StoredCase[]): Superfluous[] {
  const meanings = new Map(stored.map((one) => [one, meaningsOf(one)]));
  const open = [...stored].sort(byCost);
  const kept: StoredCase[] = [];
  const counts = new Map<string, number>();
  const add = (one: StoredCase, step: 1 | -1) => {
    for (const meaning of meanings.get(one) ?? []) {
      counts.set(meaning, (counts.get(meaning) ?? 0) + step);
    }
  };
  const news = (one: StoredCase) =>
    (meanings.get(one) ?? []).filter((meaning) => (counts.get(meaning) ?? 0) === 0).length;
  while (open.length > 0) {
    const gains = open.map(news);
    const best = gains.indexOf(Math.max(...gains));
    if (gains[best] === 0) break;
    const [one] = open.splice(best, 1);
    kept.push(one);
    add(one, 1);
  }
  for (const one of kept.sort(byCost).reverse()) {
    add(one, -1);
    if (news(one) === 0) open.push(one);
    else add(one, 1);
  }
  return open
    .map(({ path }) => ({ path, why: 'other files have all that it covers' }))
    .sort(byPath);
}

const byPath = (a: Superfluous, b: Superfluous) => (a.path < b.path ? -1 : 1);

/** reasonFor: why no kernel runs a case, or null. */
export function pruned(
  stored: readonly StoredCase[],
  reasonFor: (c: Case) => string | null,
): Superfluous[] {
  const first = new Map<string, string>();
  const superfluous: Superfluous[] = [];
  for (const one of [...stored].sort((a, b) => (a.path < b.path ? -1 : 1))) {
    const name = `${caseHash(one.case)} ${signatureOf(one)}`;
    const twin = first.get(name);
    const reason = reasonFor(one.case);
    if (twin !== undefined) superfluous.push({ path: one.path, why: `says what ${twin} says` });
    else if (reason !== null) superfluous.push({ path: one.path, why: reason });
    else first.set(name, one.path);
  }
  return superfluous;
}
