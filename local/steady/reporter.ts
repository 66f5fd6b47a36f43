/**
 * Sends each result of vitest to the program that started vitest, as soon as it is there.
 *
 * Invariant: no process of the run outlives that program, after any end of it.
 */
import type { Reporter, SerializedError, TestCase, TestModule } from 'vitest/node';
import { endProcessesBelow } from '../farm/leftovers.ts';
import type { TestResult } from './tally.ts';

const ERROR_MAX = 4_000;

export default class SteadyReporter implements Reporter {
  onInit(): void {
    process.once('disconnect', () => {
      endProcessesBelow(process.env.TMPDIR!);
      process.kill(-process.pid, 'SIGKILL');
    });
    process.channel?.unref(); // it must not keep vitest alive
  }

  onTestCaseResult(testCase: TestCase): void {
    const { state, errors = [] } = testCase.result();
    if (state === 'skipped' || state === 'pending') return;
    tell({
      test: `${testCase.module.relativeModuleId} > ${testCase.fullName}`,
      failed: state === 'failed',
      error: errors.map(inWords).join('\n'),
    });
  }

  /** Reports errors of a file outside of its tests, for example of a hook. */
  onTestModuleEnd(module: TestModule): void {
    for (const error of module.errors())
      tell({ test: `${module.relativeModuleId} > outside of its tests`, failed: true, error: inWords(error) });
  }

  async onTestRunEnd(_modules: readonly TestModule[], unhandled: readonly SerializedError[]): Promise<void> {
    for (const error of unhandled)
      tell({ test: `an error that nothing handled: ${error.message}`, failed: true, error: inWords(error) });
    await new Promise<void>((resolve) => process.send?.('end', () => resolve()) ?? resolve());
  }
}

const tell = (result: TestResult) => void process.send?.(result);

const inWords = ({
  message,
  diff,
  stack,
}: {
  message: string;
  diff?: string | undefined;
  stack?: string | undefined;
}) =>
  `${message}${diff ? `\n${diff}` : ''}\n${(stack ?? '')
    .split('\n')
    .filter((line) => /^\s+at (?!.*node_modules|new Promise)/.test(line))
    .slice(0, 6)
    .join('\n')}`.slice(0, ERROR_MAX);
