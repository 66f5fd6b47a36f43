/**
 * What an allowed event writes: a pure function from the row and the event to every row of the batch. builds.ts writes
 * it, transitions.ts has already said that it is allowed.
 */

import {
  type ArtifactReport,
  DEFAULT_TIMEOUTS,
  type Evidence,
  type FailureExplanation,
  type LogTotal,
  requeueHoldMs,
  type Verdict,
} from '#contract';
import type { artifacts, attempts, builds, events, outbox } from '../schema.ts';
import { causeOf } from './causes.ts';
import { isActive } from './transitions.ts';

export type BuildRow = typeof builds.$inferSelect;
export type AttemptRow = typeof attempts.$inferSelect;

/** How an attempt failed. */
export interface Failure {
  verdict: Verdict;
  /** The step or health check, where the verdict names one. */
  step?: string;
  message?: string;
  exitCode?: number;
  evidence?: Evidence;
  explained?: FailureExplanation;
  /** From the passed deadline to now. */
  latenessMs?: number;
}

/** What came with the report that ended an attempt. */
interface Delivery {
  /** SHA-256 of the report: an exact repetition is recognised by it. */
  reportHash?: string;
  artifacts?: ArtifactReport[];
  log?: LogTotal;
}

export type BuildEvent =
  | { type: 'claim'; attempt: number; workerId: string; instanceId: string; claimId: string; claimedAt: number }
  | { type: 'start'; attempt: number }
  | ({ type: 'succeed'; attempt: number; quietMs?: number } & Delivery)
  | ({ type: 'fail' | 'requeue'; attempt: number; failure: Failure } & Delivery)
  | { type: 'cancel' }
  | { type: 'expire' };

export interface Effects {
  build: Partial<typeof builds.$inferInsert>;
  /** Changes to the attempt that is active now. */
  attempt: Partial<typeof attempts.$inferInsert> | null;
  newAttempt: typeof attempts.$inferInsert | null;
  event: typeof events.$inferInsert;
  artifacts: (typeof artifacts.$inferInsert)[];
  outbox: (typeof outbox.$inferInsert)[];
}

/** Above every priority: an attempt that the infrastructure lost goes to the front of the queue. */
const FRONT_RANK = -1_000;
/** A requeued build avoids the worker that lost it for this long, if there is another. */
const AVOID_WORKER_MS = 60_000;

export function effectsOf(
  build: BuildRow,
  workerId: string | null,
  event: BuildEvent,
  to: BuildRow['status'],
  now: number,
): Effects {
  const attempt = event.type === 'claim' ? event.attempt : build.attempt;
  const effects: Effects = {
    build: { status: to },
    attempt: null,
    newAttempt: null,
    event: { buildId: build.id, attempt, type: event.type, at: now, detail: {} },
    artifacts: [],
    outbox: [],
  };
  switch (event.type) {
    case 'claim': {
      const { workerId, instanceId, claimId, claimedAt } = event;
      effects.build.attempt = attempt;
      effects.newAttempt = { buildId: build.id, attempt, workerId, instanceId, claimId, claimedAt };
      effects.event.detail = { workerId };
      return effects;
    }
    case 'start':
      effects.build.startedAt = now;
      effects.attempt = { startedAt: now };
      return effects;
    case 'succeed':
      effects.build.endedAt = now;
      endAttempt(effects, { exitCode: 0, quietMs: event.quietMs ?? null }, event);
      effects.event.detail = { artifacts: event.artifacts?.length ?? 0 };
      return effects;
    case 'fail':
    case 'requeue': {
      const { verdict, step, message, exitCode, evidence, explained, latenessMs } = event.failure;
      const said = { verdict, verdictStep: step ?? null, verdictMessage: message ?? null };
      if (event.type === 'fail') Object.assign(effects.build, said, { endedAt: now });
      else Object.assign(effects.build, backToQueue(build, verdict, workerId, now));
      const cause = evidence ? causeOf(verdict, evidence, silenceMs(build)) : null;
      endAttempt(
        effects,
        {
          ...said,
          exitCode: exitCode ?? null,
          explained: explained ?? null,
          latenessMs: latenessMs ?? null,
          evidence: evidence ?? null,
          cause,
        },
        event,
      );
      effects.event.detail = { verdict, step, message, exitCode, latenessMs, cause: cause ?? undefined };
      return effects;
    }
    case 'cancel':
    case 'expire': {
      const verdict = event.type === 'cancel' ? 'cancelled' : 'queue_expired';
      Object.assign(effects.build, { verdict, verdictStep: null, verdictMessage: null, endedAt: now });
      if (isActive(build.status)) endAttempt(effects, { verdict }, {});
      effects.event.detail = { verdict };
      return effects;
    }
  }

  function endAttempt(
    effects: Effects,
    patch: NonNullable<Effects['attempt']>,
    { reportHash, artifacts, log }: Delivery,
  ) {
    effects.attempt = {
      ...patch,
      endedAt: now,
      reportHash: reportHash ?? null,
      logLength: log?.length ?? null,
      logSha256: log?.sha256 ?? null,
    };
    effects.artifacts = (artifacts ?? []).map((artifact) => ({
      ...artifact,
      buildId: build.id,
      attempt,
      createdAt: now,
    }));
    effects.outbox = (['close_deadline', 'seal_log'] as const).map((kind) => ({
      kind,
      buildId: build.id,
      attempt,
      dueAt: now,
    }));
  }
}

/** The timeout whose passing made silence a verdict. */
export const silenceMs = (build: BuildRow): number =>
  build.timeouts.heartbeatTimeoutMs ?? DEFAULT_TIMEOUTS.heartbeatTimeoutMs;

function backToQueue(build: BuildRow, verdict: Verdict, workerId: string | null, now: number): Effects['build'] {
  const workerTimeoutMs = build.timeouts.workerTimeoutMs ?? DEFAULT_TIMEOUTS.workerTimeoutMs;
  return {
    queueRank: FRONT_RANK,
    startedAt: null,
    // A lost worker may only be cut off, its VM still building until the partition rule destroys it.
    notBefore: verdict === 'worker_lost' ? now + requeueHoldMs(workerTimeoutMs) : now,
    avoidWorkerId: workerId,
    avoidUntil: now + Math.max(AVOID_WORKER_MS, requeueHoldMs(workerTimeoutMs)),
  };
}
