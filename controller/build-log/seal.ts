/**
 * Moves the log of an ended attempt from its Durable Object to R2, and deletes it from R2 when retention says
 * so.
 *
 * Owns the deletion of R2 objects below `logs/`. build-log.ts writes them.
 */
import { isInAftermath, type LogTotal } from '#contract';
import { findAttempt } from '../builds/rows.ts';
import { markLogSealed } from '../builds/writes-without-event.ts';
import { logObject } from './build-log.ts';
import { logPrefix } from './segments.ts';

/** The most objects that one call lists and deletes. The outbox repeats the work until nothing is left. */
const DELETED_MAX = 500;

/**
 * Seals the log at once if it has the length and the digest that the agent reported. Otherwise it seals the
 * log at the end of the aftermath and marks it as incomplete. `later`: the attempt still runs, or the end of
 * its log may still come.
 *
 * Repeat it until it says `sealed`, also after a failure at any point.
 */
export async function sealLog(env: Env, buildId: string, attempt: number, now: number): Promise<'sealed' | 'later'> {
  const row = await findAttempt(env, buildId, attempt);
  if (!row) return 'sealed';
  if (row.endedAt === null) return 'later';
  const log = logObject(env, buildId, attempt);
  if (row.logR2Key === null) {
    const total: LogTotal | null =
      row.logLength !== null && row.logSha256 !== null ? { length: row.logLength, sha256: row.logSha256 } : null;
    const closed = await log.close(total, !isInAftermath(row.endedAt, now));
    if (!closed) return 'later';
    const prefix = logPrefix(buildId, attempt);
    await log.writeSegments(prefix);
    await markLogSealed(env, buildId, attempt, { prefix, ...closed });
  }
  await log.empty();
  return 'sealed';
}

/** Deletes a portion of a sealed log from R2. True when nothing of it is left. */
export async function deleteSealedLog(env: Env, buildId: string, attempt: number): Promise<boolean> {
  const { objects, truncated } = await env.BLOBS.list({
    prefix: `${logPrefix(buildId, attempt)}/`,
    limit: DELETED_MAX,
  });
  if (objects.length > 0) await env.BLOBS.delete(objects.map(({ key }) => key));
  return !truncated;
}
