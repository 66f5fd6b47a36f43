/**
 * Sets and lists the counters of build numbers. `:id` names the project by its id or its name. Attempts ask
 * for the numbers of their builds in routes/attempts.ts.
 */
import { type CounterList, CounterPath, CounterRequest } from '#contract';
import { may } from '../access/rights.ts';
import { listCounters, setCounter } from '../projects/build-numbers.ts';
import { answerRefusal } from '../refusals.ts';
import { valid } from '../validate.ts';
import type { On } from './register.ts';

export function buildNumberRoutes(on: On): void {
  on('GET /api/projects/:id/numbers')(async (c) => {
    const { key, project } = c.var;
    const counters = await listCounters(c.env, project.id);
    const isShown = may(key, 'numbers', { projectId: project.id });
    return c.json({
      counters: counters.map((counter) => (isShown ? counter : { ...counter, setBy: null })),
    } satisfies CounterList);
  });

  /** 201 if the app had no counter before. */
  on('PUT /api/projects/:id/numbers/:platform/:appId')(
    valid('param', CounterPath),
    valid('json', CounterRequest),
    async (c) => {
      const { key, project } = c.var;
      const { platform, appId } = c.req.valid('param');
      const app = { projectId: project.id, platform, appId };
      const set = await setCounter(c.env, app, c.req.valid('json').value, key.id, Date.now());
      return set.ok ? c.json(set.counter, set.counter.was === null ? 201 : 200) : answerRefusal(c, set);
    },
  );
}
