/** Answers the agent of a worker: it enrols, claims builds, and reports its status. */
import { z } from 'zod';
import {
  AGENT_INTERVAL_MS,
  type ClaimAnswer,
  ClaimRequest,
  type Enrolled,
  EnrolRequest,
  FindingsReport,
  Id,
  WorkerStatus,
  type WorkerStatusAnswer,
} from '#contract';
import { claimNext } from '../../attempts/claims.ts';
import { answerRefusal } from '../../refusals.ts';
import { offlineAfterMs, type Settings } from '../../settings.ts';
import { valid } from '../../validate.ts';
import { enrol } from '../../workers/enrolments.ts';
import { wantedImages } from '../../workers/image-turns.ts';
import { hearFrom, noteFindings, noteStatus } from '../../workers/presence.ts';
import { viewDurations, viewHeldAttempts, viewState } from '../../workers/view.ts';
import type { On } from '../register.ts';

/** Room for the doctor's report of 64 findings. */
const FINDINGS_MAX_BYTES = 512 * 1024;
/** An agent reports its status once in this many of its intervals, which is once a minute. */
const STATUS_INTERVALS = 15;

/**
 * The installation that wants to continue its attempts. Older agents do not send it, and a request that only
 * looks needs none.
 */
const InstanceQuery = z.object({ instance_id: Id.optional() });

export function agentRoutes(on: On, { workerTimeoutMs, pollMs }: Settings): void {
  // At most half the timeout, so that a busy worker, which does not claim, does not count as offline.
  const statusMs = Math.min(AGENT_INTERVAL_MS * STATUS_INTERVALS, workerTimeoutMs / 2);

  on('POST /api/workers/enrol')(valid('json', EnrolRequest), async (c) => {
    const enrolled = await enrol(c.env, c.req.valid('json').code, Date.now());
    return enrolled.ok ? c.json(enrolled.enrolled satisfies Enrolled, 201) : answerRefusal(c, enrolled);
  });

  on('POST /api/workers/:id/claim')(valid('json', ClaimRequest), async (c) => {
    const asking = { worker: c.var.worker, keyId: c.var.key.id };
    const claimed = await claimNext(c.env, asking, c.req.valid('json'), workerTimeoutMs, Date.now());
    if (!claimed.ok) return answerRefusal(c, claimed);
    const { assignment, reason, claimIsOver } = claimed;
    return c.json({ assignment, nextMs: pollMs, reason, claimIsOver } satisfies ClaimAnswer);
  });

  on('GET /api/workers/:id/attempts')(valid('query', InstanceQuery), async (c) => {
    const { worker } = c.var;
    const { instance_id: instanceId } = c.req.valid('query');
    if (instanceId !== undefined) {
      const heard = await hearFrom(c.env, worker, { instanceId }, workerTimeoutMs, Date.now());
      if (!heard.ok) return answerRefusal(c, heard);
    }
    return c.json(await viewHeldAttempts(c.env, worker.id));
  });

  on('GET /api/workers/:id/durations')(async (c) => c.json(await viewDurations(c.env, c.var.worker.id)));

  on('POST /api/workers/:id/findings')(valid('json', FindingsReport, FINDINGS_MAX_BYTES), async (c) => {
    const noted = await noteFindings(c.env, c.var.worker, c.req.valid('json'), Date.now());
    if (!noted.ok) return answerRefusal(c, noted);
    const state = await viewState(c.env, noted.row, workerTimeoutMs, Date.now());
    return c.json({ state, nextMs: statusMs });
  });

  on('POST /api/workers/:id/status')(valid('json', WorkerStatus, FINDINGS_MAX_BYTES), async (c) => {
    const status = c.req.valid('json');
    const said = { ...status, images: status.images ?? [] };
    const heard = await hearFrom(c.env, c.var.worker, said, workerTimeoutMs, Date.now());
    if (!heard.ok) return answerRefusal(c, heard);
    const now = Date.now();
    const noted = await noteStatus(c.env, heard.row, status, now);
    const [state, images] = await Promise.all([
      viewState(c.env, noted, workerTimeoutMs, now),
      wantedImages(c.env, noted, status.imageFetches, now - offlineAfterMs(workerTimeoutMs), now),
    ]);
    return c.json({ state, nextMs: statusMs, images } satisfies WorkerStatusAnswer);
  });
}
