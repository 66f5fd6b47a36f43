/**
 * Writes each change of a submission: its row and its timeline, in one batch or nothing.
 *
 * Invariant: a final state never changes. A change is written once, however often it is tried, because the
 * first statement compares the id of the last change, and the entry is added only if it has written the row.
 *
 * Owns `submissions` and `submission_events` together with create.ts. upkeep/retention.ts removes
 * rows.
 */
import { and, eq, inArray, ne, type SQL, sql } from 'drizzle-orm';
import { SUBMISSION_EVENTS_MAX, type SubmissionState } from '#contract';
import { type Database, insertIf, openDatabase } from '../database.ts';
import { submissionEvents, submissions } from '../schema/index.ts';
import { type Change, isFinalState, UNFINISHED_STATES } from './upload-state.ts';

export const isUnfinished = inArray(submissions.state, [...UNFINISHED_STATES]);

/** The same without parameters, as the index of unfinished submissions has it. */
export const isNotEnded = sql.raw(`state IN (${UNFINISHED_STATES.map((state) => `'${state}'`).join(', ')})`);

/** Entries that a full timeline keeps free for its end. */
const KEPT_FOR_THE_END = 2;

/**
 * Writes the change unless the submission has ended. Answers its state afterwards, null if it was deleted.
 *
 * @throws if D1 fails; it is then unknown whether the change was made, and the caller writes it again
 */
export async function writeChange(env: Env, id: string, change: Change, now: number): Promise<SubmissionState | null> {
  const { to, says, warnings, sentBytes, storeKeyVersion, reason, storeWords } = change;
  const db = openDatabase(env);
  const isEnd = isFinalState(to);
  const written = db
    .update(submissions)
    .set({
      ...{ state: to, transitionId: change.id, warnings, sentBytes, reason, storeWords, updatedAt: now },
      ...(storeKeyVersion !== null && { storeKeyVersion }),
      ...(isEnd && { endedAt: now, blob: null }),
    })
    .where(and(eq(submissions.id, id), isUnfinished, ne(submissions.transitionId, change.id)));
  const entry = eventIf(db, id, { at: now, state: to, says: says ?? sayEnd(change), isEnd }, sql`changes() = 1`);
  const found = db.select({ state: submissions.state }).from(submissions).where(eq(submissions.id, id));
  const isTold = says !== null || isEnd;
  if (isTold) {
    const [, , [row]] = await db.batch([written, entry, found]);
    return row?.state ?? null;
  }
  const [, [row]] = await db.batch([written, found]);
  return row?.state ?? null;
}

const sayEnd = ({ to, reason }: Change): string => (to === 'failed' ? `It failed: ${reason}.` : 'It has ended.');

interface Entry {
  at: number;
  state: SubmissionState;
  says: string;
  isEnd: boolean;
}

/** The statement that adds an entry to the timeline, if there is room and `condition` holds. */
export function eventIf(db: Database, submissionId: string, { at, state, says, isEnd }: Entry, condition: SQL) {
  const numbers = sql`(SELECT coalesce(max(number), 0) FROM submission_events WHERE submission_id = ${submissionId})`;
  const room = isEnd ? sql`TRUE` : sql`${numbers} < ${SUBMISSION_EVENTS_MAX - KEPT_FOR_THE_END}`;
  return insertIf(
    db,
    submissionEvents,
    { submissionId, number: sql`${numbers} + 1`, at, state, says },
    sql`${condition} AND ${room}`,
  );
}
