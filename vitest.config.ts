// Tests. Kernels run in child processes of their own, so a fork pool is enough isolation for the
// tests themselves. As many files at once as there are cores: vitest leaves one out, which is half
// of a small machine. Deadlines are against tests that hang and say nothing about speed.
import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['reference/**/*.test.ts', 'properties/**/*.test.ts', 'fuzz/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: availableParallelism(),
    testTimeout: 240_000,
    hookTimeout: 240_000,
    // Rules report every place that breaks them.
    chaiConfig: { truncateThreshold: 4000 },
  },
});
