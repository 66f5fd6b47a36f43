import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { cloudflareTest, readD1Migrations } from '@cloudflare/vitest-plugin';
import { defineConfig } from 'vitest/config';
import { LongFilesFirst } from './test/set-up/long-files-first.ts';

/**
 * Tests that start our programs and scripts as processes of their own, as Macs, VMs and users do. Each of
 * their cases starts tens of processes. `npm run test:programs` runs them.
 */
const PROGRAMS = [
  'test/**/*.programs.test.ts',
  'test/vm-image/**/*.test.ts',
  'test/worker-agent/tart-simulator/**/*.test.ts',
  'test/former-release/**/*.test.ts',
];

/** Tests that start whole Macs, or build after build. `npm run test:farm` runs them. */
const FARMS = [
  'test/**/*.farm.test.ts',
  'test/faults/**/*.test.ts',
  'test/local/demo/demo.test.ts',
  'test/cli/farm/**/*.test.ts',
];

const LOCAL_DATABASE = 'test/set-up/local-database.ts';
const SHARED_CONTROLLER = 'test/set-up/controller/global.ts';

// Tests start hundreds of Node processes with the same few programs. Each uses what others have compiled.
process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, 'node_modules/.cache/node-compile');

/** Two runtimes: the controller's tests run inside workerd, all others in Node against real edges. */
export default defineConfig({
  test: {
    // The controller prints a line for each heartbeat. Only the lines of a failing test tell something.
    silent: 'passed-only',
    globalSetup: ['test/set-up/missing-programs.ts', 'test/set-up/temporary-folder.ts'],
    // Most of them wait for processes, alarms and VMs: more at a time than there are processors.
    maxWorkers: 4,
    sequence: { sequencer: LongFilesFirst },
    projects: [
      {
        plugins: [
          cloudflareTest(async () => ({
            main: './test/worker.ts',
            wrangler: { configPath: './wrangler.toml' },
            miniflare: {
              bindings: {
                // Samples. CONTRIBUTING.md says how all of it is run.
                SEQUENCES: process.env.SEQUENCES ?? '10',
                MIXES: process.env.MIXES ?? '10',
                SEED: process.env.SEED ?? '1',
                DAYS_OF_RETENTION: process.env.DAYS_OF_RETENTION ?? '7',
                ROTATION_BUILDS: process.env.ROTATION_BUILDS ?? '8',
                FOREIGN_REQUESTS: process.env.FOREIGN_REQUESTS ?? '300',
                NUMBER_COURSES: process.env.NUMBER_COURSES ?? '10',
                FUZZ_REQUESTS: process.env.FUZZ_REQUESTS ?? '200',
                UNTRUSTED_SUBMISSIONS: process.env.UNTRUSTED_SUBMISSIONS ?? '50',
                SUBMISSION_RUNS: process.env.SUBMISSION_RUNS ?? '8',
                CLAIMS_AT_ONCE: process.env.CLAIMS_AT_ONCE ?? '60',
                DATABASE_FAULTS: process.env.DATABASE_FAULTS ?? 'some',
                TEST_MIGRATIONS: await readD1Migrations('./migrations'),
                ADMIN_KEY: 'tb_admin_of-the-tests-0123456789abcdef',
                TOKEN_KEYS: 'new:of-the-tests-new-0123456789abcdef,old:of-the-tests-old-0123456789abcdef',
                PUBLIC_URL: 'https://builds.example.com',
                INPUTS_KEY: 'of-the-tests-inputs-0123456789abcdef',
              },
            },
          })),
        ],
        test: {
          name: 'controller',
          globalSetup: ['test/set-up/stores/global.ts'],
          include: ['test/controller/**/*.test.ts'],
          // Most files take less time than the start of workerd. They share one; migrated.ts empties it.
          isolate: false,
          setupFiles: ['./test/controller/migrated.ts'],
          // For what hangs. Where other work starves this one, the longest that ends well takes half of it.
          testTimeout: 60_000,
          // They compute, and hardly wait. Each worker more would be one more start of workerd.
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'node',
          sequence: { groupOrder: 1 },
          globalSetup: [LOCAL_DATABASE, SHARED_CONTROLLER],
          // A process for each of some 150 small files would cost more than their tests.
          isolate: false,
          include: ['test/**/*.test.ts'],
          exclude: ['test/controller/**', 'test/expo/**', ...PROGRAMS, ...FARMS],
          // For what hangs. Where processes start slowly, the longest that ends well takes a minute.
          testTimeout: 180_000,
          hookTimeout: 180_000,
        },
      },
      {
        test: {
          name: 'programs',
          sequence: { groupOrder: 2 },
          globalSetup: [LOCAL_DATABASE, SHARED_CONTROLLER],
          isolate: false,
          include: PROGRAMS,
          exclude: FARMS,
          testTimeout: 180_000,
          hookTimeout: 180_000,
        },
      },
      {
        test: {
          name: 'farm',
          sequence: { groupOrder: 3 },
          globalSetup: [LOCAL_DATABASE],
          include: FARMS,
          // Whole Macs. With more of them at a time than this, they take the processors from one another: the
          // suite takes longer then, and what waits with a limit reaches it.
          maxWorkers: availableParallelism(),
          maxConcurrency: 2,
          // For what hangs. Where processes start slowly, the longest that ends well takes half of it.
          testTimeout: 600_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
