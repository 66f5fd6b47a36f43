import { defineConfig } from 'vitest/config';

/**
 * A real project with real packages from the npm registry: minutes and a network, so apart from `npm test`.
 */
export default defineConfig({
  test: {
    name: 'expo',
    include: ['test/expo/**/*.test.ts'],
    // These take half an hour. profile-farm.test.ts and toolchain.test.ts show a sample in each run.
    exclude: [
      ...(process.env.EXPO_ENGINE ? [] : ['test/expo/real-projects.test.ts']),
      ...(process.env.EXPO_ENGINE || process.env.RECORD ? [] : ['test/expo/submit.test.ts']),
      ...(process.env.EXPO_MANAGERS === 'all' ? [] : ['test/expo/engine-managers.test.ts']),
    ],
    testTimeout: 600_000,
    hookTimeout: 120_000,
    reporters: 'verbose',
  },
});
