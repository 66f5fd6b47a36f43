declare namespace Cloudflare {
  interface Env {
    /** How many interleavings the property test runs, and from which seed. */
    SEQUENCES: string;
    SEED: string;
    /** How many mixes of queued builds the test of fairness draws. */
    MIXES: string;
    /** For how many days builds come and go in the test of retention. */
    DAYS_OF_RETENTION: string;
    /** How many requests the fuzz test sends. */
    FUZZ_REQUESTS: string;
    /** How many courses of requests the test of build numbers draws. */
    NUMBER_COURSES: string;
    /** How many builds are under way while INPUTS_KEY is rotated. */
    ROTATION_BUILDS: string;
    /** How many pairs of requests the test of foreign things sends. */
    FOREIGN_REQUESTS: string;
    /** How many untrusted builds are submitted to one project. */
    UNTRUSTED_SUBMISSIONS: string;
    /** How many claims compete for the builds of a project with a limit. */
    CLAIMS_AT_ONCE: string;
    /** How many submissions with faults at random go to the stores. */
    SUBMISSION_RUNS: string;
    /** `all`: each call of D1 in the life of a build fails in both ways. Else a sample of them fails. */
    DATABASE_FAULTS: string;
    TEST_MIGRATIONS: import('cloudflare:test').D1Migration[];
  }
  interface GlobalProps {
    mainModule: typeof import('../worker.ts');
  }
}
