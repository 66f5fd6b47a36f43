/** How an attempt stands to its build: the one place where a message of a stale or ended attempt is told apart. Reads only. */
import { and, eq } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/d1';
import { AFTERMATH_MS } from '#contract';
import { type Refusal, refusal } from '../refusals.ts';
import { attempts, builds } from '../schema.ts';

export interface Standing {
  /** `stale`: a newer attempt exists. `unknown`: no such build, or no such attempt of it. */
  standing: 'current' | 'ended' | 'stale' | 'unknown';
  build: typeof builds.$inferSelect | null;
  attempt: typeof attempts.$inferSelect | null;
}

export async function attemptStanding(env: Env, buildId: string, attempt: number): Promise<Standing> {
  const row = await drizzle(env.DB)
    .select({ build: builds, attempt: attempts })
    .from(builds)
    .leftJoin(attempts, and(eq(attempts.buildId, builds.id), eq(attempts.attempt, attempt)))
    .where(eq(builds.id, buildId))
    .get();
  if (!row) return { standing: 'unknown', build: null, attempt: null };
  if (!row.attempt) return { standing: 'unknown', ...row };
  if (attempt < row.build.attempt) return { standing: 'stale', ...row };
  return { standing: row.attempt.endedAt === null ? 'current' : 'ended', ...row };
}

/** Null for the current attempt; else `not_found`, `stale_attempt` or `attempt_ended`. */
export function refuseUnlessCurrent({ standing, build, attempt }: Standing): Refusal | null {
  if (standing === 'current') return null;
  if (!build) return refusal('not_found', 'there is no such build');
  if (!attempt) return refusal('not_found', 'the build has no such attempt');
  if (standing === 'stale')
    return refusal('stale_attempt', `attempt ${attempt.attempt} is over, the build is at attempt ${build.attempt}`);
  return refusal('attempt_ended', `attempt ${attempt.attempt} has ended`);
}

/** Whether the attempt may still write its own log and tell its evidence. */
export const isInAftermath = (endedAt: number, now: number): boolean => now < endedAt + AFTERMATH_MS;
