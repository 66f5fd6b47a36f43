/**
 * Makes the annotations that a run of GitHub Actions shows for builds that did not succeed, beside the line
 * of the source where the log names one.
 */
import type { BuildDetail, SubmissionFailure } from '#contract';
import { printable, printableLines } from '../../client/printable.ts';
import { placeOfError } from './place-of-error.ts';
import { workflowCommand } from './workflow-commands.ts';

const TITLE_MAX = 200;
const TEXT_MAX = 4_000;

/** `root` is the folder of the checkout. */
export function annotationsOf(build: BuildDetail, root: string): string[] {
  return [...ofVerdict(build, root), ...storeFailures(build).map((failure) => ofStore(build, failure))];
}

/** The reason why the app of a build that succeeded has not reached its store. */
export function storeFailures({ submissions, submit }: BuildDetail): SubmissionFailure[] {
  // The newest comes first. Older ones may have failed before somebody tried again.
  const failure = submissions[0]?.failure ?? submit?.failure ?? null;
  return failure === null ? [] : [failure];
}

function ofVerdict(build: BuildDetail, root: string): string[] {
  const { verdict, cause, supersededBy } = build;
  if (supersededBy !== null) return [annotation('notice', build, 'Superseded', [`Build ${supersededBy} replaces it.`])];
  if (verdict === null) return [];
  const { title, whose, message, explained, explanation, advice, tellingLines, code } = verdict;
  const words = explained
    ? [explained.sentence, explained.advice, explained.line && `The log says: ${explained.line}`]
    : [message, cause && `${cause.title}. ${cause.explanation}`, explanation, cause?.advice ?? advice, ...tellingLines];
  const fault = whose === 'infrastructure' && 'This is a fault of the farm. Another try may succeed.';
  const place = [...(explained ? [explained.line] : []), ...tellingLines]
    .map((line) => placeOfError(line, root))
    .find((found) => found !== null);
  const level = code === 'cancelled' ? 'warning' : 'error';
  const at = place && { file: place.file, line: place.line, col: place.column };
  return [annotation(level, build, title, [...words, fault], at)];
}

function ofStore(build: BuildDetail, { title, message, explanation, advice, storeWords }: SubmissionFailure): string {
  return annotation('error', build, title, [
    message,
    explanation,
    advice,
    storeWords && `The store says: ${storeWords}`,
  ]);
}

function annotation(
  level: 'error' | 'warning' | 'notice',
  { platform, id }: BuildDetail,
  title: string,
  words: readonly (string | false | null | undefined)[],
  at: Record<string, string | number | undefined> = {},
): string {
  const lines = [...words.filter(Boolean), `Build ${id}.`].join('\n');
  const about = printable(`${platform}: ${title}`).slice(0, TITLE_MAX);
  return workflowCommand(level, printableLines(lines).slice(0, TEXT_MAX), { title: about, ...at });
}
