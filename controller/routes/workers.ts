/** Workers: an admin's view of them, and what their agents ask and say. */
import { Hono } from 'hono';
import { z } from 'zod';
import {
  AGENT_INTERVAL_MS,
  ClaimRequest,
  type Enrolled,
  EnrolmentRequest,
  EnrolRequest,
  FindingsReport,
  type WorkerAttempts,
  type WorkerDurations,
  WorkerPatch,
  WorkerRequest,
  WorkerStatus,
} from '#contract';
import { countStranger, type KeyEnv, requireScope, requireThisWorker } from '../access/auth.ts';
import { createKey } from '../access/keys.ts';
import { claimNext } from '../attempts/claims.ts';
import { activeAttempts, lastSucceeded } from '../builds/apply.ts';
import { readLive } from '../builds/views.ts';
import { answerRefusal, refusal } from '../refusals.ts';
import type { Limits } from '../settings.ts';
import { drainSoon } from '../upkeep/outbox.ts';
import { Id, IdParam, valid } from '../validate.ts';
import { createEnrolment, enrol } from '../workers/enrolments.ts';
import {
  findWorker,
  hearFrom,
  listWorkers,
  noteFindings,
  noteStatus,
  patchWorker,
  registerWorker,
  removeWorker,
  viewWorkers,
  type WorkerRow,
} from '../workers/registry.ts';

/** Enough to tune limits by, few enough to be of now. */
const DURATIONS_SHOWN = 20;

/** A doctor's report of 64 findings. */
const FINDINGS_MAX_BYTES = 512 * 1024;
/** How long the code lives that registration answers. */
const ENROLMENT_MINUTES = 60;

/** Which installation means to go on with its attempts. Older agents do not say, and who only looks need not. */
const InstanceQuery = z.object({ instance_id: Id.optional() });

export const workerRoutes = ({ workerTimeoutMs, pollMs }: Limits) => {
  const view = async (env: Env, row: WorkerRow) => (await viewWorkers(env, [row], workerTimeoutMs, Date.now()))[0]!;
  // What keeps a busy worker from counting as offline.
  const statusMs = Math.min(AGENT_INTERVAL_MS * 15, workerTimeoutMs / 2);
  const noWorker = (id: string) => refusal('not_found', `there is no worker ${id}`);

  const admin = new Hono<KeyEnv>()
    .use(requireScope('admin'))
    .post('/', valid('json', WorkerRequest), async (c) => {
      const now = Date.now();
      const { credential, ...request } = c.req.valid('json');
      const registered = await registerWorker(c.env, request, now);
      if (!registered.ok) return answerRefusal(c, registered);
      const { row } = registered;
      if (credential === 'code') {
        const enrolment = await createEnrolment(c.env, row.id, ENROLMENT_MINUTES, now);
        return c.json({ worker: await view(c.env, row), enrolment }, 201);
      }
      const { secret } = await createKey(c.env, { name: row.name, scope: 'worker', workerId: row.id }, now);
      return c.json({ worker: await view(c.env, row), key: secret }, 201);
    })
    .post('/:id/enrolments', valid('param', IdParam), valid('json', EnrolmentRequest), async (c) => {
      const { id } = c.req.valid('param');
      if (!(await findWorker(c.env, id))) return answerRefusal(c, noWorker(id));
      return c.json(await createEnrolment(c.env, id, c.req.valid('json').validForMinutes, Date.now()), 201);
    })
    .get('/', async (c) =>
      c.json({ workers: await viewWorkers(c.env, await listWorkers(c.env), workerTimeoutMs, Date.now()) }),
    )
    .get('/:id', valid('param', IdParam), async (c) => {
      const { id } = c.req.valid('param');
      const row = await findWorker(c.env, id);
      return row ? c.json(await view(c.env, row)) : answerRefusal(c, noWorker(id));
    })
    .patch('/:id', valid('param', IdParam), valid('json', WorkerPatch), async (c) => {
      const { id } = c.req.valid('param');
      const row = await patchWorker(c.env, id, c.req.valid('json'));
      return row ? c.json(await view(c.env, row)) : answerRefusal(c, noWorker(id));
    })
    .delete('/:id', valid('param', IdParam), async (c) => {
      const { id } = c.req.valid('param');
      if (!(await removeWorker(c.env, id, Date.now()))) return answerRefusal(c, noWorker(id));
      drainSoon(c.env);
      return c.body(null, 204);
    });

  const agent = new Hono<KeyEnv>()
    .post('/:id/claim', requireThisWorker, valid('param', IdParam), valid('json', ClaimRequest), async (c) => {
      const { id } = c.req.valid('param');
      const worker = await findWorker(c.env, id);
      if (!worker) return answerRefusal(c, noWorker(id));
      const claimed = await claimNext(c.env, worker, c.req.valid('json'), workerTimeoutMs, Date.now());
      if (!claimed.ok) return answerRefusal(c, claimed);
      return c.json({ assignment: claimed.assignment, nextMs: pollMs, reason: claimed.reason });
    })
    .get('/:id/attempts', requireThisWorker, valid('param', IdParam), valid('query', InstanceQuery), async (c) => {
      const { id } = c.req.valid('param');
      const { instance_id: instanceId } = c.req.valid('query');
      const worker = await findWorker(c.env, id);
      if (!worker) return answerRefusal(c, noWorker(id));
      if (instanceId !== undefined) {
        const heard = await hearFrom(c.env, worker, instanceId, workerTimeoutMs, Date.now());
        if (!heard.ok) return answerRefusal(c, heard);
      }
      const held = await activeAttempts(c.env, id);
      const attempts = await Promise.all(
        held.map(async ({ build, attempt }) => {
          const live = await readLive(c.env, build);
          return {
            buildId: build.id,
            attempt: attempt.attempt,
            claimId: attempt.claimId,
            status: build.status === 'building' ? ('building' as const) : ('assigned' as const),
            claimedAt: new Date(attempt.claimedAt).toISOString(),
            deadlines: live?.deadlines ?? [],
            progress: live?.progress ?? null,
            phase: live?.phase ?? null,
            endExpectedAt: live?.endExpectedAt ?? null,
          };
        }),
      );
      return c.json({ attempts } satisfies WorkerAttempts);
    })
    .get('/:id/durations', requireThisWorker, valid('param', IdParam), async (c) => {
      const rows = await lastSucceeded(c.env, c.req.valid('param').id, DURATIONS_SHOWN);
      return c.json({
        attempts: rows.map(({ build, attempt }) => ({
          buildId: build.id,
          project: build.project,
          platform: build.platform,
          endedAt: new Date(attempt.endedAt!).toISOString(),
          bootMs: attempt.startedAt === null ? null : attempt.startedAt - attempt.claimedAt,
          totalMs: attempt.endedAt! - attempt.claimedAt,
          quietMs: attempt.quietMs,
          timeouts: build.timeouts,
        })),
      } satisfies WorkerDurations);
    })
    .post(
      '/:id/findings',
      requireThisWorker,
      valid('param', IdParam),
      valid('json', FindingsReport, FINDINGS_MAX_BYTES),
      async (c) => {
        const { id } = c.req.valid('param');
        const worker = await findWorker(c.env, id);
        if (!worker) return answerRefusal(c, noWorker(id));
        const noted = await noteFindings(c.env, worker, c.req.valid('json'), Date.now());
        if (!noted.ok) return answerRefusal(c, noted);
        return c.json({ state: (await view(c.env, noted.row)).state, nextMs: statusMs });
      },
    )
    .post(
      '/:id/status',
      requireThisWorker,
      valid('param', IdParam),
      valid('json', WorkerStatus, FINDINGS_MAX_BYTES),
      async (c) => {
        const { id } = c.req.valid('param');
        const worker = await findWorker(c.env, id);
        if (!worker) return answerRefusal(c, noWorker(id));
        const status = c.req.valid('json');
        const heard = await hearFrom(c.env, worker, status.instanceId, workerTimeoutMs, Date.now());
        if (!heard.ok) return answerRefusal(c, heard);
        const noted = await noteStatus(c.env, worker, status, Date.now());
        return c.json({ state: (await view(c.env, noted)).state, nextMs: statusMs });
      },
    );

  /** Needs no key: the code is the credential. */
  const enrolment = new Hono<{ Bindings: Env }>().post(
    '/enrol',
    countStranger,
    valid('json', EnrolRequest),
    async (c) => {
      const enrolled = await enrol(c.env, c.req.valid('json').code, Date.now());
      return enrolled.ok ? c.json(enrolled.enrolled satisfies Enrolled, 201) : answerRefusal(c, enrolled);
    },
  );

  return new Hono<KeyEnv>().route('/', enrolment).route('/', agent).route('/', admin);
};
