import { defineConfig } from 'vitest/config';

/**
 * A real project with real packages from the npm registry: minutes and a network, so apart from `npm test`.
 */
export default defineConfig({
  test: {
    name: 'expo',
    include: ['test/expo/**/*.test.ts'],
    testTimeout: 600_000,
    hookTimeout: 120_000,
    reporters: 'verbose',
  },
});
