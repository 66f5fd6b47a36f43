/** Finds the worker that a path names as `:id`, or answers 404. It comes after `valid('param', IdParam)`. */
import { createMiddleware } from 'hono/factory';
import type { KeyEnv } from '../access/auth.ts';
import { answerRefusal, refusal } from '../refusals.ts';
import { findWorker, type WorkerRow } from '../workers/registry.ts';

export interface WorkerEnv {
  Bindings: Env;
  Variables: KeyEnv['Variables'] & { worker: WorkerRow };
}

export const foundWorker = createMiddleware<WorkerEnv>(async (c, next) => {
  const id = c.req.param('id') ?? '';
  const worker = await findWorker(c.env, id);
  if (!worker) return answerRefusal(c, noWorker(id));
  c.set('worker', worker);
  return next();
});

export const noWorker = (id: string) => refusal('not_found', `there is no worker ${id}`);
