// Tests. Kernels run in child processes of their own, so a fork pool is enough isolation for the
// tests themselves.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['reference/**/*.test.ts', 'properties/**/*.test.ts', 'fuzz/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Rules report every place that breaks them.
    chaiConfig: { truncateThreshold: 4000 },
  },
});
