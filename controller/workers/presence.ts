/**
 * Notes that the agent of a worker was heard, and what it says of itself.
 *
 * Invariant: at most one installation of the agent acts for a worker at a time.
 *
 * Owns the table `workers` together with registry.ts.
 */
import { and, eq, isNull, or, sql } from 'drizzle-orm';
import type { ClaimRequest, Finding, FindingsReport, WorkerStatus } from '#contract';
import { openDatabase } from '../database.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { workers } from '../schema/index.ts';
import { WORKER_COLUMNS, type WorkerRow } from './registry.ts';

/**
 * `last_seen` is written at most this often, because an agent speaks every few seconds and each write costs a
 * row.
 */
const SEEN_EVERY_MS = 60_000;

/**
 * The facts that an agent tells of its Mac. For an older agent, which does not tell them, the stored ones
 * hold.
 */
type Said = Pick<ClaimRequest, 'instanceId' | 'slots' | 'platforms' | 'images'>;

/**
 * Notes that an agent was heard, with its slots, platforms and images. Answers the worker's row as it is now.
 * Refused: `worker_in_use` while another installation acts for the worker.
 */
export async function hearFrom(
  env: Env,
  worker: WorkerRow,
  { instanceId, slots = worker.slots, platforms = worker.platforms, images = worker.images }: Said,
  workerTimeoutMs: number,
  now: number,
): Promise<{ ok: true; row: WorkerRow } | Refusal> {
  const everyMs = Math.min(SEEN_EVERY_MS, workerTimeoutMs / 2);
  const isNews =
    JSON.stringify([slots, platforms, images]) !== JSON.stringify([worker.slots, worker.platforms, worker.images]);
  const wasHeard = worker.instanceId === instanceId && worker.lastSeen !== null && now - worker.lastSeen < everyMs;
  if (wasHeard && !isNews) return { ok: true, row: worker };
  const taken = await openDatabase(env)
    .update(workers)
    .set({ instanceId, lastSeen: now, slots, platforms, images })
    .where(
      and(
        eq(workers.id, worker.id),
        or(
          isNull(workers.instanceId),
          eq(workers.instanceId, instanceId),
          sql`${workers.lastSeen} <= ${now - workerTimeoutMs}`,
        ),
      ),
    )
    .returning(WORKER_COLUMNS);
  if (taken[0]) return { ok: true, row: taken[0] };
  const seconds = Math.round(workerTimeoutMs / 1_000);
  return refusal(
    'worker_in_use',
    `another agent uses worker ${worker.name}: it was heard within the last ${seconds} s. ` +
      'Stop that agent, or register this Mac as a worker of its own.',
  );
}

/**
 * Notes a report of the doctor. It must come from the installation that acts for the worker, if there is one.
 */
export async function noteFindings(
  env: Env,
  worker: WorkerRow,
  { instanceId, findings }: FindingsReport,
  now: number,
): Promise<{ ok: true; row: WorkerRow } | Refusal> {
  if (worker.instanceId !== null && worker.instanceId !== instanceId)
    return refusal(
      'worker_in_use',
      `another agent uses worker ${worker.name}: run \`expo-worker doctor\` on the Mac of that agent`,
    );
  const rows = await openDatabase(env)
    .update(workers)
    .set(afterDoctor(findings, now))
    .where(eq(workers.id, worker.id))
    .returning(WORKER_COLUMNS);
  return { ok: true, row: rows[0] ?? worker };
}

/**
 * Notes what the agent says of itself: its VMs, its version, and now and then the doctor's findings. Its
 * slots, platforms and images are noted when it is heard.
 */
export async function noteStatus(env: Env, worker: WorkerRow, status: WorkerStatus, now: number): Promise<WorkerRow> {
  const { slotsInUse, vms, agentVersion, notReady, findings, imageFetches = null } = status;
  const rows = await openDatabase(env)
    .update(workers)
    .set({
      slotsInUse,
      vms,
      agentVersion,
      notReady,
      imageFetches,
      lastSeen: now,
      ...(findings ? afterDoctor(findings, now) : {}),
    })
    .where(eq(workers.id, worker.id))
    .returning(WORKER_COLUMNS);
  return rows[0] ?? worker;
}

/** Findings without a blocking failure end the quarantine of a worker. */
const afterDoctor = (findings: Finding[], now: number) =>
  findings.some(({ status, blocking }) => blocking && status === 'fail')
    ? { findings }
    : { findings, trustedSince: now };
