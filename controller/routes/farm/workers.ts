/** Answers admins: registers, shows, pauses and removes workers. */
import { EnrolmentRequest, WorkerPatch, WorkerRequest } from '#contract';
import { createKey } from '../../access/keys.ts';
import { answerRefusal } from '../../refusals.ts';
import type { Settings } from '../../settings.ts';
import { drainSoon } from '../../upkeep/outbox.ts';
import { valid } from '../../validate.ts';
import { createEnrolment } from '../../workers/enrolments.ts';
import { listWorkers, noWorker, patchWorker, registerWorker, removeWorker } from '../../workers/registry.ts';
import { viewWorker, viewWorkers } from '../../workers/view.ts';
import type { On } from '../register.ts';

/** How long the code of a registration is valid. An admin types it on the Mac right away. */
const ENROLMENT_MINUTES = 60;

export function workerRoutes(on: On, { workerTimeoutMs }: Settings): void {
  on('POST /api/workers')(valid('json', WorkerRequest), async (c) => {
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
  });

  on('GET /api/workers')(async (c) =>
    c.json({ workers: await viewWorkers(c.env, await listWorkers(c.env), workerTimeoutMs, Date.now()) }),
  );

  on('GET /api/workers/:id')(async (c) => c.json(await viewWorker(c.env, c.var.worker, workerTimeoutMs, Date.now())));

  on('PATCH /api/workers/:id')(valid('json', WorkerPatch), async (c) => {
    const { id } = c.var.worker;
    const row = await patchWorker(c.env, id, c.req.valid('json'), Date.now());
    if (!row) return answerRefusal(c, noWorker(id));
    return c.json(await viewWorker(c.env, row, workerTimeoutMs, Date.now()));
  });

  on('DELETE /api/workers/:id')(async (c) => {
    const { id } = c.var.worker;
    if (!(await removeWorker(c.env, id, Date.now()))) return answerRefusal(c, noWorker(id));
    drainSoon(c.env);
    return c.body(null, 204);
  });

  on('POST /api/workers/:id/enrolments')(valid('json', EnrolmentRequest), async (c) =>
    c.json(await createEnrolment(c.env, c.var.worker.id, c.req.valid('json').validForMinutes, Date.now()), 201),
  );
}
