/**
 * Declares tests that need a program which not every machine has. The global set-up has said what is missing.
 */
import { type TestOptions, test } from 'vitest';
import { type Program, pathOf } from './programs.ts';

interface DeclareTest {
  (sentence: string, check: () => void | Promise<void>): void;
  (sentence: string, options: TestOptions, check: () => void | Promise<void>): void;
}

/**
 * Returns `test` where the programs are there. Elsewhere one skipped test stands for all that the returned
 * function would declare.
 */
export function testWith(...programs: Program[]): DeclareTest {
  const missing = programs.filter((program) => pathOf(program) === null);
  if (missing.length === 0) return test;
  test.skip(`all that needs ${missing.join(' and ')}`, () => {});
  return () => {};
}
