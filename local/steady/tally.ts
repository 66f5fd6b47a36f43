/** Counts the results of a suite's runs, and puts them into words. Pure. */

export interface TestResult {
  /** The file and the sentence of a test. For an error outside of all tests, its kind. */
  test: string;
  failed: boolean;
  /** vitest's description of the failure. */
  error: string;
}

export interface RunResult {
  results: readonly TestResult[];
  /** Null if a signal ended it. */
  exitCode: number | null;
  durationMs: number;
}

const NO_TEST = 'the run failed, and no test of it';

export class Tally {
  #runs = 0;
  #clean = 0;
  #durationMs = 0;
  readonly #failures = new Map<string, number>();

  /** Returns the tests that failed in this run. */
  add({ results, exitCode, durationMs }: RunResult): TestResult[] {
    this.#runs++;
    this.#durationMs += durationMs;
    const failed = results.filter((result) => result.failed);
    if (failed.length === 0 && exitCode !== 0)
      failed.push({ test: NO_TEST, failed: true, error: `vitest ended with exit code ${exitCode}` });
    if (failed.length === 0) this.#clean++;
    for (const test of new Set(failed.map((result) => result.test)))
      this.#failures.set(test, (this.#failures.get(test) ?? 0) + 1);
    return failed;
  }

  get hasFailures(): boolean {
    return this.#failures.size > 0;
  }

  /** A line for each test that ever failed, the most frequent first, and one for all. */
  lines(): string[] {
    const failures = [...this.#failures].sort(([, a], [, b]) => b - a);
    const runs = `${this.#runs} ${this.#runs === 1 ? 'run' : 'runs'}`;
    const tests = `${failures.length} ${failures.length === 1 ? 'test' : 'tests'} failed at least once`;
    return [
      ...failures.map(([test, count]) => `failed in ${count} of ${runs}: ${test}`),
      `${runs} in ${Math.round(this.#durationMs / 1_000)} s, ${this.#clean} without a failure; ${tests}`,
    ];
  }
}
