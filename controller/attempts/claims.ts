/**
 * Gives a worker its next build: pick one, arm its deadline, then claim it by compare-and-set.
 *
 * Invariant: a claimed build has a deadline. The arm comes first, because a claim without a deadline would be
 * stuck for ever, while an arm without a claim forgets itself.
 *
 * The same claim id gets the same assignment, so an agent that lost the answer can ask again.
 */
import { and, eq, type SQL, sql } from 'drizzle-orm';
import type { Assignment, ClaimRequest } from '#contract';
import { apply } from '../builds/apply.ts';
import { ATTEMPT_COLUMNS, BUILD_COLUMNS } from '../builds/rows.ts';
import { isActive } from '../builds/transitions.ts';
import { openDatabase } from '../database.ts';
import { isNotRevoked } from '../projects/conditions.ts';
import { readStandings } from '../queue/able-workers.ts';
import { picker, whyNone } from '../queue/pick.ts';
import { PROJECT_HAS_ROOM } from '../queue/project-room.ts';
import { metBy, offerFor } from '../queue/requirements.ts';
import type { Refusal } from '../refusals.ts';
import { attempts, builds, workers } from '../schema/index.ts';
import { inputsCanBeOpened } from '../secrets/openable-inputs.ts';
import { offlineAfterMs } from '../settings.ts';
import { hearFrom } from '../workers/presence.ts';
import type { WorkerRow } from '../workers/registry.ts';
import { assignmentOf } from './assignment.ts';
import { ARM_TTL_MS } from './build-deadline.ts';

/**
 * The most builds that one claim tries. Each lost race means that another worker won. The claim then chooses
 * anew, because the winner has changed which project is next.
 */
const TRIES_MAX = 4;

export type Claimed =
  | { ok: true; assignment: Assignment | null; reason: string | null; claimIsOver?: boolean }
  | Refusal;

/** Gives the worker that is `asking`, by one of its keys, the next build. Refused: `worker_in_use`. */
export async function claimNext(
  env: Env,
  asking: { worker: WorkerRow; keyId: string },
  request: ClaimRequest,
  workerTimeoutMs: number,
  now: number,
): Promise<Claimed> {
  // Only an older agent sends no `images`. The images that a newer agent offered before it no longer count.
  const said = { ...request, images: request.images ?? [] };
  const heard = await hearFrom(env, asking.worker, said, workerTimeoutMs, now);
  if (!heard.ok) return heard;
  const { row: worker } = heard;
  const repeated = await findClaim(env, worker, request.claimId);
  if (repeated) return repeated;
  if (worker.paused)
    return nothing(worker.paused === 'drain' ? 'an operator drains this worker' : 'an operator paused this worker');
  const [standing] = await readStandings(env, eq(workers.id, worker.id), now);
  if (standing?.quarantined) return nothing('this worker is in quarantine: run `expo-worker doctor`');
  if (standing && standing.held >= worker.slots)
    return nothing(
      `this worker holds ${standing.held} build(s) and has ${worker.slots} slot(s); ` +
        '`maxConcurrentBuilds` in its config sets the number of slots',
    );

  const canBeOpened = await inputsCanBeOpened(env);
  const able = { id: worker.id, pools: worker.pools, meets: metBy(worker) };
  const { next } = picker(env, able, now - offlineAfterMs(workerTimeoutMs), now, canBeOpened);
  const tried: string[] = [];
  while (tried.length < TRIES_MAX) {
    const build = await next(tried);
    if (!build) break;
    tried.push(build.id);
    const attempt = build.attempt + 1;
    const claimedAt = await env.DEADLINES.getByName(build.id).arm(attempt, build.timeouts, now);
    if (claimedAt === null) continue;
    const { instanceId, claimId } = request;
    const image = offerFor(worker.images, build);
    const event = { type: 'claim' as const, attempt, workerId: worker.id, instanceId, claimId, claimedAt, image };
    try {
      const applied = await apply(env, build.id, event, now, mayBegin(worker, asking.keyId, claimedAt));
      if (applied.ok) return handedOut(await assignmentOf(env, applied.build, event));
    } catch (error) {
      // D1's answer may be lost although the claim was made, so look before giving up.
      const made = await findClaim(env, worker, claimId);
      if (made) return made;
      throw error;
    }
  }
  return nothing(await whyNone(env, able, now));
}

/**
 * A condition for the compare-and-set of a claim: the worker is not removed, its key is not revoked, it has a
 * free slot, the project of the build has room, and the arm is fresh. D1's own clock judges the arm, because
 * BuildDeadline may forget an arm that is older.
 */
const mayBegin = (worker: WorkerRow, keyId: string, armedAt: number): SQL =>
  and(
    sql`EXISTS (SELECT 1 FROM workers WHERE workers.id = ${worker.id} AND workers.removed_at IS NULL)`,
    isNotRevoked(keyId),
    sql`(SELECT count(*) FROM attempts WHERE worker_id = ${worker.id} AND ended_at IS NULL) < ${worker.slots}`,
    PROJECT_HAS_ROOM,
    sql`unixepoch('subsec') * 1000 < ${armedAt + ARM_TTL_MS}`,
  )!;

const nothing = (reason: string | null): Claimed => ({ ok: true, assignment: null, reason });

const handedOut = (made: Awaited<ReturnType<typeof assignmentOf>>): Claimed =>
  made.ok ? { ...made, reason: null } : made;

/** The earlier answer to this claim id: its assignment, or none if that attempt has ended since. */
async function findClaim(env: Env, worker: WorkerRow, claimId: string): Promise<Claimed | null> {
  const [row] = await openDatabase(env)
    .select({ attempt: ATTEMPT_COLUMNS, build: BUILD_COLUMNS })
    .from(attempts)
    .innerJoin(builds, eq(builds.id, attempts.buildId))
    .where(and(eq(attempts.workerId, worker.id), eq(attempts.claimId, claimId)));
  if (!row) return null;
  const current = row.build.attempt === row.attempt.attempt && isActive(row.build.status);
  return current
    ? handedOut(await assignmentOf(env, row.build, row.attempt))
    : { ok: true, assignment: null, reason: 'the attempt that this claim was given has ended', claimIsOver: true };
}
