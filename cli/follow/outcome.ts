/** Says which exit code stands for the end of a followed build. Pure. */
import type { Build, Submission } from '#contract';
import { EXIT, type ExitCode } from '../exit-codes.ts';

export function exitCodeOf({ status, verdict, supersededBy }: Build): ExitCode {
  if (status === 'succeeded') return EXIT.ok;
  if (status === 'cancelled') return supersededBy === null ? EXIT.cancelled : EXIT.superseded;
  return verdict?.whose === 'infrastructure' ? EXIT.infrastructure : EXIT.failed;
}

export const exitCodeOfSubmission = ({ state }: Pick<Submission, 'state'>): ExitCode =>
  state === 'failed' ? EXIT.refusedByStore : state === 'cancelled' ? EXIT.cancelled : EXIT.ok;

const WORST_FIRST: readonly ExitCode[] = [
  EXIT.failed,
  EXIT.infrastructure,
  EXIT.refusedByStore,
  EXIT.cancelled,
  EXIT.superseded,
];

/** The exit code of the worst of several builds. */
export const worstOf = (codes: readonly ExitCode[]): ExitCode =>
  WORST_FIRST.find((code) => codes.includes(code)) ?? EXIT.ok;
