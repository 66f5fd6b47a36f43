/**
 * Chooses among the errors of compilers the one that most likely caused the others. Pure.
 *
 * It takes the first error, because that error often causes the later ones. An error in a file of the project
 * comes before one in a package. One in Apple's SDK comes last, because the SDK itself is never at fault.
 */
import type { FailingLine } from './failing-lines.ts';

/**
 * `/a/b.swift:1:2: error: x`, and of Kotlin and Java `e: file:///a/b.kt:1:2 x` and `/a/b.java:1: error: x`.
 */
export const COMPILER_ERROR =
  /^(?:e: (?:file:\/\/)?)?(\/?[^\s:"'`(][^:"'`]*\.(?:swift|mm?|cpp|cc|cxx|c|hpp|h|pch|modulemap|kts?|java)):(\d+)(?::\d+)?:? (?:(?:fatal )?error: )?(.{0,200})/;
/**
 * A failed test is printed in the same form, with the name of the case: `a.m:1: error: -[ATests testB] : x`.
 */
const IS_ERROR = /^e: |: (?:fatal )?error: (?!-\[)/;
const APPLE = /\.sdk\/|\/Xcode[^/]*\.app\/|\/CommandLineTools\//;
const PACKAGE = /(?:^|\/)(?:node_modules|Pods|SourcePackages|\.gradle|DerivedData)\//;
/** Matches errors that a compiler reports in one file because another file has an error. */
const FOLLOWS =
  /\b(?:could not build module|failed to (?:emit|build) (?:precompiled|module)|too many errors emitted|no such module|unable to find module dependency)/i;

export const isCompilerError = (text: string): boolean => IS_ERROR.test(text) && COMPILER_ERROR.test(text);

/** Returns the index of the line, or null if no compiler failed. */
export function chooseFirstCause(lines: readonly FailingLine[]): number | null {
  let best: number | null = null;
  let bestRank = Number.POSITIVE_INFINITY;
  for (const [index, { text, tells }] of lines.entries()) {
    if (!tells || !isCompilerError(text)) continue;
    const rank = rankOf(text);
    if (rank < bestRank) [best, bestRank] = [index, rank];
  }
  return best;
}

/**
 * Returns 0 for a file of the project, 1 for one of a package, 2 for one of Apple. It adds more if another
 * error has caused this one.
 */
export function rankOf(text: string): number {
  const path = COMPILER_ERROR.exec(text)?.[1] ?? '';
  const whose = APPLE.test(path) ? 2 : PACKAGE.test(path) ? 1 : 0;
  return whose + (FOLLOWS.test(text) ? 3 : 0);
}
