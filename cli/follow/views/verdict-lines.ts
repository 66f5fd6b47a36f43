/** Says in lines for people how a build or a submission ended. Pure. */
import type { BuildDetail, Explained, FailureExplanation, SubmissionFailure, VerdictView } from '#contract';
import { printable } from '../../../client/printable.ts';

/** The first line is a summary, and the others explain it. */
export function verdictLines({ verdict, cause }: { verdict: VerdictView; cause: Explained | null }): string[] {
  const { title, code, step, message, explained, explanation, advice, tellingLines } = verdict;
  return [
    `${title} (${code}${step ? `, ${printable(step)}` : ''}).`,
    ...(message ? [`  ${printable(message)}`] : []),
    ...(explained ? explainedLines(explained) : []),
    ...(tellingLines.length > 0 ? ['  These lines of the log may tell why:'] : []),
    ...tellingLines.map((line) => `    ${printable(line)}`),
    ...(cause ? [`  Cause: ${cause.title}. ${cause.explanation}`, `  ${cause.advice}`] : []),
    `  ${explanation}`,
    `  ${advice}`,
  ].map(printableLine);
}

export const explainedLines = ({ sentence, advice, line }: FailureExplanation): string[] =>
  [`  ${sentence}`, ...(advice ? [`  ${advice}`] : []), ...(line ? [`  The log says: ${line}`] : [])].map(
    printableLine,
  );

export const storeFailureLines = ({ title, code, message, explanation, advice, storeWords }: SubmissionFailure) =>
  [
    `${title} (${code}).`,
    ...(message ? [`  ${message}`] : []),
    `  ${explanation}`,
    `  ${advice}`,
    ...(storeWords ? [`  The store says: ${storeWords}`] : []),
  ].map(printableLine);

/** Keeps the indentation. */
const printableLine = (line: string): string => printable(line).trimEnd();

/** The time in ms from the start of the build to its end. */
export function tookMs({ createdAt, startedAt, endedAt }: Pick<BuildDetail, 'createdAt' | 'startedAt' | 'endedAt'>) {
  return Date.parse(endedAt ?? createdAt) - Date.parse(startedAt ?? createdAt);
}
