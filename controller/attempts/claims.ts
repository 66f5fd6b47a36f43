/**
 * How a worker gets a build: pick, arm, compare-and-set. The arm comes first, because a claim without a deadline would
 * be stuck for ever, while an arm without a claim forgets itself. The same claim id answers the same assignment, so a
 * lost reply costs nothing.
 */
import { and, asc, eq, inArray, lte, ne, or, type SQL, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/d1';
import {
  AFTERMATH_MS,
  type Assignment,
  agentIntervalMs,
  beatIntervalMs,
  type ClaimRequest,
  DEFAULT_TIMEOUTS,
} from '#contract';
import { signToken } from '../access/tokens.ts';
import { apply } from '../builds/apply.ts';
import type { AttemptRow, BuildRow } from '../builds/effects.ts';
import { readHistory } from '../builds/phase-history.ts';
import { isActive } from '../builds/transitions.ts';
import { type Refusal, refusal } from '../refusals.ts';
import * as schema from '../schema.ts';
import { attempts, blobs, builds } from '../schema.ts';
import { hasAlternative, hearFrom, isQuarantined, type WorkerRow } from '../workers/registry.ts';
import { ARM_TTL_MS } from './build-deadline.ts';

/** How many builds one call tries before it answers "nothing": each lost race means that somebody else won. */
const CANDIDATES_MAX = 5;
/** Tokens outlive the longest attempt by its aftermath and half an hour of outage. */
const TOKEN_SLACK_MS = AFTERMATH_MS + 30 * 60_000;

export type Claimed = { ok: true; assignment: Assignment | null; reason: string | null } | Refusal;

/** Gives `worker` the next build it may take. Refused: `worker_in_use`. */
export async function claimNext(
  env: Env,
  worker: WorkerRow,
  request: ClaimRequest,
  workerTimeoutMs: number,
  now: number,
): Promise<Claimed> {
  const heard = await hearFrom(env, worker, request.instanceId, workerTimeoutMs, now);
  if (!heard.ok) return heard;
  const repeated = await findClaim(env, worker, request.claimId);
  if (repeated) return repeated;
  if (worker.paused)
    return nothing(worker.paused === 'drain' ? 'an operator drains this worker' : 'an operator paused this worker');
  if (await isQuarantined(env, worker)) return nothing('quarantined: run `expo-worker doctor`');

  const alternative = await hasAlternative(env, worker, now - 1.5 * workerTimeoutMs);
  for (const build of await candidates(env, worker, alternative, now)) {
    const attempt = build.attempt + 1;
    const claimedAt = await env.DEADLINES.getByName(build.id).arm(attempt, build.timeouts, now);
    if (claimedAt === null) continue;
    const { instanceId, claimId } = request;
    const event = { type: 'claim' as const, attempt, workerId: worker.id, instanceId, claimId, claimedAt };
    try {
      const applied = await apply(env, build.id, event, now, slotFree(worker, claimedAt));
      if (applied.ok) return answer(env, applied.build, event);
    } catch (error) {
      // The reply may be lost and the claim made: look before giving up.
      const made = await findClaim(env, worker, claimId);
      if (made) return made;
      throw error;
    }
  }
  return nothing(null);
}

const nothing = (reason: string | null): Claimed => ({ ok: true, assignment: null, reason });

/** Builds that `worker` may take, the next one first. */
function candidates(env: Env, worker: WorkerRow, alternative: boolean, now: number): Promise<BuildRow[]> {
  const notAvoided = or(
    sql`${builds.avoidWorkerId} IS NULL`,
    ne(builds.avoidWorkerId, worker.id),
    lte(builds.avoidUntil, now),
  );
  return drizzle(env.DB, { schema }).query.builds.findMany({
    where: and(
      eq(builds.status, 'queued'),
      eq(builds.pool, worker.pool),
      inArray(builds.platform, worker.platforms),
      lte(builds.notBefore, now),
      alternative ? notAvoided : undefined,
    ),
    orderBy: [asc(builds.queueRank), asc(builds.queuedAt)],
    limit: CANDIDATES_MAX,
  });
}

/** Checked in the compare-and-set itself: the worker has a free slot, and the arm is fresh by D1's own clock. */
const slotFree = (worker: WorkerRow, armedAt: number): SQL => sql`
  (SELECT count(*) FROM attempts WHERE worker_id = ${worker.id} AND ended_at IS NULL) < ${worker.slots}
  AND unixepoch('subsec') * 1000 < ${armedAt + ARM_TTL_MS}`;

/** What this claim id was given before. An attempt that has ended meanwhile is nobody's assignment any more. */
async function findClaim(env: Env, worker: WorkerRow, claimId: string): Promise<Claimed | null> {
  const [row] = await drizzle(env.DB, { schema })
    .select({ attempt: attempts, build: builds })
    .from(attempts)
    .innerJoin(builds, eq(builds.id, attempts.buildId))
    .where(and(eq(attempts.workerId, worker.id), eq(attempts.claimId, claimId)));
  if (!row) return null;
  const current = row.build.attempt === row.attempt.attempt && isActive(row.build.status);
  return current ? answer(env, row.build, row.attempt) : nothing('what this claim was given has ended');
}

async function answer(
  env: Env,
  build: BuildRow,
  attempt: Pick<AttemptRow, 'attempt' | 'workerId' | 'claimId' | 'claimedAt'>,
): Promise<Claimed> {
  const { timeouts, sourceSha256 } = build;
  const source = await drizzle(env.DB, { schema }).query.blobs.findFirst({ where: eq(blobs.sha256, sourceSha256) });
  if (!source) return refusal('blob_not_stored', `the source of build ${build.id} is no longer stored`);
  const history = await readHistory(env, build);
  const claims = {
    buildId: build.id,
    attempt: attempt.attempt,
    workerId: attempt.workerId,
    expiresAt: attempt.claimedAt + (timeouts.buildTimeoutMs ?? DEFAULT_TIMEOUTS.buildTimeoutMs) + TOKEN_SLACK_MS,
  };
  const [vm, run] = await Promise.all([
    signToken(env, { kind: 'vm', ...claims }),
    signToken(env, { kind: 'run', ...claims }),
  ]);
  const assignment: Assignment = {
    buildId: build.id,
    attempt: attempt.attempt,
    workerId: attempt.workerId,
    claimId: attempt.claimId,
    platform: build.platform,
    command: commandOf(build),
    source: { sha256: sourceSha256, size: source.size },
    artifactGlobs: build.artifactGlobs,
    timeouts,
    anotherAttemptPossible: attempt.attempt < build.maxAttempts,
    history: history ?? undefined,
    claimedAt: new Date(attempt.claimedAt).toISOString(),
    beatIntervalMs: beatIntervalMs(timeouts),
    nextMs: agentIntervalMs(timeouts),
    tokens: { vm, run },
  };
  return { ok: true, assignment, reason: null };
}

/** A profile stands for EAS's own local build. Profile names are validated to need no quoting. */
const commandOf = ({ command, profile, platform }: BuildRow): string =>
  command ?? `eas build --local --non-interactive --platform ${platform} --profile ${profile}`;
