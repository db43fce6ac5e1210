// The tests that mutants of reference/ are run against (stryker.config.json): those beside it, and
// not the properties and campaigns that use it too, which take minutes a mutant.
export default {
  test: { include: ['reference/**/*.test.ts'], pool: 'forks', testTimeout: 120_000 },
};
