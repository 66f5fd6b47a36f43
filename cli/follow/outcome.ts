/** Says with which exit code a followed build ends. Pure. */
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

/** Of several builds the worst counts. */
export const worstOf = (codes: readonly ExitCode[]): ExitCode =>
  WORST_FIRST.find((code) => codes.includes(code)) ?? EXIT.ok;
