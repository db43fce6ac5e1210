// The tests that mutants of reference/ are run against (mutation.mjs), in the order in which they
// are named: a mutant's first failure ends its run.
import { BaseSequencer } from 'vitest/node';

const tests = process.env.MUTATION_TESTS?.split(',') ?? ['reference/**/*.test.ts'];

class AsNamed extends BaseSequencer {
  async sort(files) {
    const place = ({ moduleId }) => tests.findIndex((name) => moduleId.endsWith(name));
    return [...files].sort((a, b) => place(a) - place(b));
  }
}

export default {
  test: {
    include: tests,
    pool: 'forks',
    testTimeout: 120_000,
    sequence: { sequencer: AsNamed },
  },
};
