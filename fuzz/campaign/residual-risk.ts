// residual-risk.ts - how likely it is that the next case shows something that no case has shown.
//
// The probability mass of what was never seen is about f1 / n, with n cases and f1 the things that
// were seen in exactly one of them (Good and Turing 1953; for fuzzing: Boehme, STADS, 2018). It
// holds for cases drawn independently from one distribution, which generated cases are and stored
// ones are not. The limit holds with probability 1 - delta:
//     mass <= f1/n + (2 sqrt 2 + sqrt 3) sqrt(ln(3 / delta) / n)
// (McAllester and Schapire 2000, theorem 9), and where nothing was ever seen with the simpler and
// sharper n-th root: a thing of probability p stays unseen in n cases with probability (1 - p)^n,
// so p <= 1 - delta^(1/n), about 3 / n at 95 %.
//
// What it does not say: that the kernel is right. It speaks of failures that these properties can
// see, on cases of this generator.

export interface ResidualRisk {
  /** Probability that the next case shows something new, estimated. */
  readonly estimate: number;
  /** An upper limit that holds with 95 % probability. */
  readonly limit: number;
}

const DELTA = 0.05;
const SPREAD = 2 * Math.sqrt(2) + Math.sqrt(3);

/** once: things seen in exactly one case; ever: things seen at all. */
export function residualRisk(cases: number, once: number, ever: number): ResidualRisk | null {
  if (!(cases > 0)) return null;
  const estimate = Math.min(1, once / cases);
  const none = 1 - DELTA ** (1 / cases);
  const limit = estimate + SPREAD * Math.sqrt(Math.log(3 / DELTA) / cases);
  return { estimate, limit: Math.min(1, ever === 0 ? none : limit) };
}
