import { defineConfig } from 'vitest/config';

// Kernels run in child processes of their own, so a fork pool is enough isolation for the tests themselves.
export default defineConfig({
  test: {
    include: ['reference/**/*.test.ts', 'properties/**/*.test.ts', 'fuzz/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 60_000,
  },
});
