/**
 * Computes every row of the batch that an allowed event writes, from the build's row and the event. Pure.
 *
 * transitions.ts has decided before that the event is allowed, and apply.ts writes the batch.
 */
import {
  type ArtifactApp,
  type ArtifactReport,
  type AttemptImage,
  type Evidence,
  type FailureExplanation,
  type HandBackReason,
  type LogTotal,
  limitOrDefaultMs,
  requeueHoldMs,
  type TellingLines,
  type Verdict,
} from '#contract';
import type { artifacts, attemptEvidence, attempts, builds, events, outbox } from '../schema/index.ts';
import { causeOf } from './causes.ts';
import { queueRank } from './queue-rank.ts';
import type { AttemptRow, BuildRow } from './rows.ts';
import { isActive } from './transitions.ts';

/** How an attempt failed. */
export interface Failure {
  verdict: Verdict;
  /** Set if the agent could have no VM, and hands the build back. */
  handBack?: HandBackReason;
  /** The step or health check, where the verdict names one. */
  step?: string;
  message?: string;
  exitCode?: number;
  evidence?: Evidence;
  explained?: FailureExplanation;
  tellingLines?: TellingLines;
  /** From the passed deadline to now. */
  latenessMs?: number;
}

/** The artifacts, log and hash of the report that ended an attempt. */
interface Delivery {
  /** SHA-256 of the report, by which an exact repetition is recognised. */
  reportHash?: string;
  artifacts?: ArtifactReport[];
  log?: LogTotal;
}

/** The data of the claim that begins a new attempt. */
interface Claim {
  workerId: string;
  instanceId: string;
  claimId: string;
  claimedAt: number;
  /** The offer of the worker that matched. Null if its agent offers none. */
  image: AttemptImage | null;
}

export type BuildEvent =
  | ({ type: 'claim'; attempt: number } & Claim)
  | { type: 'start'; attempt: number }
  | ({ type: 'succeed'; attempt: number; quietMs?: number } & Delivery)
  | ({ type: 'fail' | 'requeue' | 'hand_back'; attempt: number; failure: Failure } & Delivery)
  /**
   * `supersededBy`: the newer build of its group. `message`: the reason, if nobody cancelled this very build.
   */
  | { type: 'cancel'; supersededBy?: string; message?: string }
  | { type: 'expire' };

export interface Effects {
  build: Partial<typeof builds.$inferInsert>;
  /** Changes to the attempt that is active now. */
  attempt: Partial<typeof attempts.$inferInsert> | null;
  newAttempt: typeof attempts.$inferInsert | null;
  evidence: typeof attemptEvidence.$inferInsert | null;
  event: typeof events.$inferInsert;
  artifacts: (typeof artifacts.$inferInsert)[];
  outbox: (typeof outbox.$inferInsert)[];
}

/** A build that comes back avoids its last worker for at least this long, if there is another worker. */
const AVOID_WORKER_MS = 60_000;

/** The changes of an event, without the keys and times that all rows have in common. */
interface Change {
  /** The changed columns beside the status. */
  build: Effects['build'];
  attempt?: NonNullable<Effects['attempt']>;
  newAttempt?: Claim;
  evidence?: Evidence | undefined;
  detail: Effects['event']['detail'];
  /** Set if the attempt ends. */
  delivery?: Delivery;
}

/** @param current the row of the attempt that `build` names; null before the first claim */
export function effectsOf(
  build: BuildRow,
  current: AttemptRow | null,
  event: BuildEvent,
  to: BuildRow['status'],
  now: number,
): Effects {
  const key = { buildId: build.id, attempt: event.type === 'claim' ? event.attempt : build.attempt };
  const { newAttempt, evidence, detail, delivery, ...change } = changeOf(build, current, event, now);
  return {
    build: { status: to, ...change.build },
    attempt: delivery ? { ...change.attempt, ...endOf(delivery, now) } : (change.attempt ?? null),
    newAttempt: newAttempt ? { ...key, ...newAttempt } : null,
    evidence: evidence ? { ...key, evidence } : null,
    event: { ...key, type: event.type, at: now, detail },
    artifacts: (delivery?.artifacts ?? []).map((artifact) => ({ ...artifactRow(artifact), ...key, createdAt: now })),
    outbox: delivery ? (['close_deadline', 'seal_log'] as const).map((kind) => ({ kind, ...key, dueAt: now })) : [],
  };
}

function artifactRow({ name, sha256, size, app: said }: ArtifactReport) {
  const { icon = null, ...app } = said ?? {};
  return { name, sha256, size, app: said ? (app as Omit<ArtifactApp, 'icon'>) : null, icon };
}

function changeOf(build: BuildRow, current: AttemptRow | null, event: BuildEvent, now: number): Change {
  switch (event.type) {
    case 'claim': {
      const { attempt, workerId, instanceId, claimId, claimedAt, image } = event;
      return {
        build: { attempt, imageAttempt: attempt },
        newAttempt: { workerId, instanceId, claimId, claimedAt, image },
        detail: { workerId },
      };
    }
    case 'start':
      return { build: { startedAt: now }, attempt: { startedAt: now }, detail: {} };
    case 'succeed':
      return {
        build: { endedAt: now },
        attempt: { exitCode: 0, quietMs: event.quietMs ?? null },
        detail: { artifacts: event.artifacts?.length ?? 0 },
        delivery: event,
      };
    case 'fail':
    case 'requeue':
    case 'hand_back':
      return failureOf(build, current, event, now);
    case 'cancel': {
      const verdict = 'cancelled';
      const ends = isActive(build.status) && { attempt: { verdict } as const, delivery: {} };
      return {
        build: {
          ...{ verdict, verdictStep: null, verdictMessage: event.message ?? null, endedAt: now },
          supersededBy: event.supersededBy ?? null,
        },
        detail: { verdict, supersededBy: event.supersededBy, message: event.message },
        ...ends,
      };
    }
    case 'expire': {
      const expired = expiredAs(build, current);
      return { build: { ...expired, endedAt: now }, detail: { verdict: expired.verdict } };
    }
  }
}

type FailureEvent = Extract<BuildEvent, { failure: Failure }>;

/** The attempt has failed. The build fails with it, or goes back to the queue. */
function failureOf(build: BuildRow, current: AttemptRow | null, event: FailureEvent, now: number): Change {
  const { verdict, step, message, exitCode, evidence, explained, tellingLines, latenessMs } = event.failure;
  const said = { verdict, verdictStep: step ?? null, verdictMessage: message ?? null };
  const cause = evidence ? causeOf(event.failure, evidence, build.timeouts) : null;
  const handedBack = event.type === 'hand_back';
  const again = () => backToQueue(build, verdict, current?.workerId ?? null, now);
  return {
    build: {
      ...(event.type === 'fail' ? { ...said, endedAt: now } : again()),
      ...(handedBack && { handBacks: build.handBacks + 1 }),
    },
    attempt: {
      ...said,
      exitCode: exitCode ?? null,
      explained:
        explained || tellingLines?.length ? { ...explained, ...(tellingLines?.length && { tellingLines }) } : null,
      latenessMs: latenessMs ?? null,
      handedBack,
      cause,
    },
    evidence,
    detail: { verdict, step, message, exitCode, latenessMs, cause: cause ?? undefined },
    delivery: event,
  };
}

const endOf = ({ reportHash, log }: Delivery, now: number) => ({
  endedAt: now,
  reportHash: reportHash ?? null,
  logLength: log?.length ?? null,
  logSha256: log?.sha256 ?? null,
});

/**
 * The end of a build that no worker took in time. A build that had an attempt waited only because the
 * infrastructure lost that attempt, or could not begin it. Such a build ends as the attempt did.
 */
function expiredAs({ timeouts }: BuildRow, current: AttemptRow | null) {
  if (!current?.verdict) return { verdict: 'queue_expired' as const, verdictStep: null, verdictMessage: null };
  const { verdict, verdictStep, verdictMessage, attempt } = current;
  const minutes = Math.ceil(limitOrDefaultMs(timeouts, 'queueTimeoutMs') / 60_000);
  const waited = `no worker took the build again after attempt ${attempt}, within its queueTimeout of ${minutes} min`;
  return { verdict, verdictStep, verdictMessage: verdictMessage ? `${verdictMessage}; ${waited}` : waited };
}

function backToQueue(build: BuildRow, verdict: Verdict, workerId: string | null, now: number): Effects['build'] {
  const workerTimeoutMs = limitOrDefaultMs(build.timeouts, 'workerTimeoutMs');
  return {
    queueRank: queueRank(build.priority, true),
    queuedAt: now,
    startedAt: null,
    // A lost worker may only be cut off from the network. Its VM then continues to build until the agent
    // destroys it by the partition rule.
    notBefore: verdict === 'worker_lost' ? now + requeueHoldMs(workerTimeoutMs) : now,
    avoidWorkerId: workerId,
    avoidUntil: now + Math.max(AVOID_WORKER_MS, requeueHoldMs(workerTimeoutMs)),
  };
}
