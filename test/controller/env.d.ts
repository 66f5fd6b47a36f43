declare namespace Cloudflare {
  interface Env {
    /** How many interleavings the property test runs, and from which seed. */
    SEQUENCES: string;
    SEED: string;
    /** How many requests the fuzz test sends. */
    FUZZ_REQUESTS: string;
    TEST_MIGRATIONS: import('cloudflare:test').D1Migration[];
  }
  interface GlobalProps {
    mainModule: typeof import('../worker.ts');
  }
}
