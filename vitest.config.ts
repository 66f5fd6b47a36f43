import { cloudflareTest, readD1Migrations } from '@cloudflare/vitest-plugin';
import { defineConfig } from 'vitest/config';

/**
 * On a machine that others load, whole VMs with deadlines of seconds may lose a build that a Mac would not. What works with real processes
 * is tried once more in CI, and the report says so; by hand it is not.
 */
const RETRIES = process.env.CI ? 1 : 0;

/** Two runtimes: the controller's tests run inside workerd, all others in Node against real processes. */
export default defineConfig({
  test: {
    // A line per heartbeat is what the controller prints: only a failing test's lines tell something.
    silent: 'passed-only',
    // Most of them wait for processes, alarms and VMs: more at a time than there are processors.
    maxWorkers: 3,
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
          isolate: false,
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
          retry: RETRIES,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'faults',
          include: ['test/faults/**/*.test.ts'],
          // Whole Macs, which mostly wait: as many rows at a time as a farm has.
          maxConcurrency: 3,
          retry: RETRIES,
          testTimeout: 300_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
