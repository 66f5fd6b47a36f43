/** Answers the agent of a worker: it enrols, claims builds, and says how it is. */
import { Hono } from 'hono';
import { z } from 'zod';
import { AGENT_INTERVAL_MS, ClaimRequest, type Enrolled, EnrolRequest, FindingsReport, WorkerStatus } from '#contract';
import { countStranger, type KeyEnv, requireThisWorker } from '../access/auth.ts';
import { claimNext } from '../attempts/claims.ts';
import { answerRefusal } from '../refusals.ts';
import type { Settings } from '../settings.ts';
import { Id, IdParam, valid } from '../validate.ts';
import { enrol } from '../workers/enrolments.ts';
import { hearFrom, noteFindings, noteStatus } from '../workers/presence.ts';
import { viewDurations, viewHeldAttempts, viewWorker } from '../workers/view.ts';
import { foundWorker } from './found-worker.ts';

/** Room for the doctor's report of 64 findings. */
const FINDINGS_MAX_BYTES = 512 * 1024;
/** An agent reports its status once in so many of its intervals, that is, once a minute. */
const STATUS_INTERVALS = 15;

/** The installation that means to go on with its attempts. Older agents do not send it, and a mere look needs none. */
const InstanceQuery = z.object({ instance_id: Id.optional() });

export const agentRoutes = ({ workerTimeoutMs, pollMs }: Settings) => {
  // At most half the timeout, so that a busy worker, which does not claim, does not count as offline.
  const statusMs = Math.min(AGENT_INTERVAL_MS * STATUS_INTERVALS, workerTimeoutMs / 2);

  return (
    new Hono<KeyEnv>()
      /** Needs no key, because the code is the credential. */
      .post('/enrol', countStranger, valid('json', EnrolRequest), async (c) => {
        const enrolled = await enrol(c.env, c.req.valid('json').code, Date.now());
        return enrolled.ok ? c.json(enrolled.enrolled satisfies Enrolled, 201) : answerRefusal(c, enrolled);
      })
      .post(
        '/:id/claim',
        requireThisWorker,
        valid('param', IdParam),
        valid('json', ClaimRequest),
        foundWorker,
        async (c) => {
          const claimed = await claimNext(c.env, c.var.worker, c.req.valid('json'), workerTimeoutMs, Date.now());
          if (!claimed.ok) return answerRefusal(c, claimed);
          return c.json({ assignment: claimed.assignment, nextMs: pollMs, reason: claimed.reason });
        },
      )
      .get(
        '/:id/attempts',
        requireThisWorker,
        valid('param', IdParam),
        valid('query', InstanceQuery),
        foundWorker,
        async (c) => {
          const { instance_id: instanceId } = c.req.valid('query');
          const { worker } = c.var;
          if (instanceId !== undefined) {
            const heard = await hearFrom(c.env, worker, instanceId, workerTimeoutMs, Date.now());
            if (!heard.ok) return answerRefusal(c, heard);
          }
          return c.json(await viewHeldAttempts(c.env, worker.id));
        },
      )
      .get('/:id/durations', requireThisWorker, valid('param', IdParam), async (c) =>
        c.json(await viewDurations(c.env, c.req.valid('param').id)),
      )
      .post(
        '/:id/findings',
        requireThisWorker,
        valid('param', IdParam),
        valid('json', FindingsReport, FINDINGS_MAX_BYTES),
        foundWorker,
        async (c) => {
          const noted = await noteFindings(c.env, c.var.worker, c.req.valid('json'), Date.now());
          if (!noted.ok) return answerRefusal(c, noted);
          const { state } = await viewWorker(c.env, noted.row, workerTimeoutMs, Date.now());
          return c.json({ state, nextMs: statusMs });
        },
      )
      .post(
        '/:id/status',
        requireThisWorker,
        valid('param', IdParam),
        valid('json', WorkerStatus, FINDINGS_MAX_BYTES),
        foundWorker,
        async (c) => {
          const status = c.req.valid('json');
          const heard = await hearFrom(c.env, c.var.worker, status.instanceId, workerTimeoutMs, Date.now());
          if (!heard.ok) return answerRefusal(c, heard);
          const noted = await noteStatus(c.env, c.var.worker, status, Date.now());
          const { state } = await viewWorker(c.env, noted, workerTimeoutMs, Date.now());
          return c.json({ state, nextMs: statusMs });
        },
      )
  );
};
