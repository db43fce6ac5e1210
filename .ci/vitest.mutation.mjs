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

/**
 * Stryker's runner (9.6) looks at tests alone, so a mutant by which a file or the body of a
 * describe() throws, before there is a test, would survive. Such a file gets a test that failed.
 */
const failedToLoad = {
  onTestRunEnd(modules) {
    for (const { task } of modules) {
      if (task.result?.state !== 'fail' || task.tasks.length > 0) continue;
      const { errors } = task.result;
      const result = { state: 'fail', errors, duration: 0 };
      task.tasks.push({ type: 'test', name: 'loads', mode: 'run', file: task, meta: {}, result });
    }
  },
};

export default {
  test: {
    include: tests,
    pool: 'forks',
    testTimeout: 120_000,
    sequence: { sequencer: AsNamed },
    reporters: [failedToLoad],
  },
};
