/** Finds the streams that follow a live log with a key that was revoked, and ends them. */
import { sql } from 'drizzle-orm';
import { openDatabase } from '../database.ts';
import { logObject } from './build-log.ts';

/**
 * Asks each log that is not sealed: the active attempts, and those whose sealing is in the outbox. It never
 * rejects. A stream that it misses ends when it next looks for the mark of its key.
 */
export async function endFollowersOf(env: Env, keyIds: readonly string[]): Promise<void> {
  try {
    const live = await openDatabase(env).all<{ build: string; attempt: number }>(sql`
      SELECT id AS build, attempt FROM builds WHERE status IN ('assigned', 'building')
      UNION SELECT build_id, attempt FROM outbox WHERE kind = 'seal_log'`);
    const asked = await Promise.allSettled(
      live.map(({ build, attempt }) => logObject(env, build, attempt).endFollowers(keyIds)),
    );
    const failed = asked.filter(({ status }) => status === 'rejected').length;
    if (failed > 0) throw new Error(`${failed} of ${asked.length} logs did not answer`);
  } catch (error) {
    console.error(JSON.stringify({ event: 'followers_not_ended', keys: keyIds, error: String(error) }));
  }
}
