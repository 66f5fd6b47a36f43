/** Answers admins that register, watch, pause and remove workers. */
import { Hono } from 'hono';
import { EnrolmentRequest, WorkerPatch, WorkerRequest } from '#contract';
import { type KeyEnv, requireScope } from '../access/auth.ts';
import { createKey } from '../access/keys.ts';
import { answerRefusal } from '../refusals.ts';
import type { Settings } from '../settings.ts';
import { drainSoon } from '../upkeep/outbox.ts';
import { IdParam, valid } from '../validate.ts';
import { createEnrolment } from '../workers/enrolments.ts';
import { listWorkers, patchWorker, registerWorker, removeWorker } from '../workers/registry.ts';
import { viewWorker, viewWorkers } from '../workers/view.ts';
import { foundWorker, noWorker } from './found-worker.ts';

/** The code that registration answers is valid for so long: an admin types it on the Mac right away. */
const ENROLMENT_MINUTES = 60;

export const workerRoutes = ({ workerTimeoutMs }: Settings) =>
  new Hono<KeyEnv>()
    .use(requireScope('admin'))
    .post('/', valid('json', WorkerRequest), async (c) => {
      const now = Date.now();
      const { credential, ...request } = c.req.valid('json');
      const registered = await registerWorker(c.env, request, now);
      if (!registered.ok) return answerRefusal(c, registered);
      const { row } = registered;
      const worker = await viewWorker(c.env, row, workerTimeoutMs, now);
      if (credential === 'code')
        return c.json({ worker, enrolment: await createEnrolment(c.env, row.id, ENROLMENT_MINUTES, now) }, 201);
      const { secret } = await createKey(c.env, { name: row.name, scope: 'worker', workerId: row.id }, now);
      return c.json({ worker, key: secret }, 201);
    })
    .post('/:id/enrolments', valid('param', IdParam), valid('json', EnrolmentRequest), foundWorker, async (c) =>
      c.json(await createEnrolment(c.env, c.var.worker.id, c.req.valid('json').validForMinutes, Date.now()), 201),
    )
    .get('/', async (c) =>
      c.json({ workers: await viewWorkers(c.env, await listWorkers(c.env), workerTimeoutMs, Date.now()) }),
    )
    .get('/:id', valid('param', IdParam), foundWorker, async (c) =>
      c.json(await viewWorker(c.env, c.var.worker, workerTimeoutMs, Date.now())),
    )
    .patch('/:id', valid('param', IdParam), valid('json', WorkerPatch), async (c) => {
      const { id } = c.req.valid('param');
      const row = await patchWorker(c.env, id, c.req.valid('json'));
      if (!row) return answerRefusal(c, noWorker(id));
      return c.json(await viewWorker(c.env, row, workerTimeoutMs, Date.now()));
    })
    .delete('/:id', valid('param', IdParam), async (c) => {
      const { id } = c.req.valid('param');
      if (!(await removeWorker(c.env, id, Date.now()))) return answerRefusal(c, noWorker(id));
      drainSoon(c.env);
      return c.body(null, 204);
    });
