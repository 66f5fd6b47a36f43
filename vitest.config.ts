import { cloudflareTest, readD1Migrations } from '@cloudflare/vitest-plugin';
import { defineConfig } from 'vitest/config';

/** Two runtimes: the controller's tests run inside workerd, all others in Node against real processes. */
export default defineConfig({
  test: {
    // A line per heartbeat is what the controller prints: only a failing test's lines tell something.
    silent: 'passed-only',
    projects: [
      {
        plugins: [
          cloudflareTest(async () => ({
            main: './test/worker.ts',
            wrangler: { configPath: './wrangler.toml' },
            miniflare: {
              bindings: {
                SEQUENCES: process.env.SEQUENCES ?? '20',
                SEED: process.env.SEED ?? '1',
                FUZZ_REQUESTS: process.env.FUZZ_REQUESTS ?? '400',
                TEST_MIGRATIONS: await readD1Migrations('./migrations'),
                ADMIN_KEY: 'tb_admin_of-the-tests-0123456789abcdef',
                TOKEN_KEYS: 'new:of-the-tests-new-0123456789abcdef,old:of-the-tests-old-0123456789abcdef',
                INPUTS_KEY: 'of-the-tests-inputs-0123456789abcdef',
              },
            },
          })),
        ],
        test: {
          name: 'controller',
          include: ['test/controller/**/*.test.ts'],
          setupFiles: ['./test/controller/migrated.ts'],
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'node',
          include: ['test/**/*.test.ts'],
          exclude: ['test/controller/**', 'test/expo/**', 'test/faults/**'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'faults',
          include: ['test/faults/**/*.test.ts'],
          // Whole Macs at once: as many rows at a time as a farm has, and one farm at a time, after the others.
          fileParallelism: false,
          sequence: { groupOrder: 1 },
          maxConcurrency: 3,
          testTimeout: 300_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
