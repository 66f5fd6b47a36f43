/** Defines the lines of a followed build: `watch`, `logs`, `submit` and `upload` under `--json`. */
import { z } from 'zod';
import {
  BUILD_STATUSES,
  Explained,
  FailureExplanation,
  Live,
  QueuePlace,
  SubmissionDetail,
  SubmissionFailure,
  VerdictView,
} from '#contract';

const buildId = z.string();

export const FOLLOW_LINES = [
  /** A line of the log. `text` has no line break. */
  z.strictObject({ type: z.literal('log'), buildId, attempt: z.number().int(), text: z.string() }),
  /** The progress of the running attempt, or why the build waits, at each change. */
  z.strictObject({
    type: z.literal('progress'),
    ...{ buildId, live: Live.nullable(), waitingFor: z.string().nullable(), queue: QueuePlace.nullable() },
  }),
  /** The controller is out of reach, or is reached again. */
  z.strictObject({ type: z.literal('connection'), reached: z.boolean(), message: z.string() }),
  z.strictObject({ type: z.literal('note'), buildId: buildId.nullable(), message: z.string() }),
  /** With `--fail-fast`: an error that the catalogue knows stands in the log of a build that goes on. */
  z.strictObject({ type: z.literal('known_error'), buildId, explained: FailureExplanation }),
  z.strictObject({ type: z.literal('verdict'), buildId, verdict: VerdictView, cause: Explained.nullable() }),
  /** A submission to a store, at each change. */
  z.strictObject({ type: z.literal('submission'), submission: SubmissionDetail }),
  /** The build succeeded, but it was not submitted to the store that it had asked for. */
  z.strictObject({ type: z.literal('not_submitted'), buildId, failure: SubmissionFailure }),
  /** The last line. Null: the build was not followed to its end. */
  z.strictObject({
    type: z.literal('end'),
    builds: z.array(
      z.strictObject({ buildId, status: z.enum(BUILD_STATUSES).nullable(), exitCode: z.number().int().nullable() }),
    ),
    exitCode: z.number().int(),
  }),
] as const;
