/** Answers submitters: builds are submitted, listed, shown, cancelled and retried. */
import { z } from 'zod';
import { BUILD_STATUSES, buildRequest, Id, RetryRequest } from '#contract';
import type { AuthenticatedKey } from '../access/keys.ts';
import { projectOf } from '../access/reached-project.ts';
import { may } from '../access/rights.ts';
import { apply } from '../builds/apply.ts';
import { retryBuild } from '../builds/retry.ts';
import { findAttempt } from '../builds/rows.ts';
import { submitBuild } from '../builds/submit.ts';
import { viewBuild, viewBuildDetail, viewBuildList } from '../builds/views.ts';
import { answerRefusal, refusal } from '../refusals.ts';
import type { Settings } from '../settings.ts';
import { drainSoon } from '../upkeep/outbox.ts';
import { valid, validIfAny, wholeNumber } from '../validate.ts';
import type { On } from './register.ts';

/** Room for an environment with certificates in it. */
const BUILD_MAX_BYTES = 1024 * 1024;
const LIST_MAX = 100;
/** Live figures cost one call to a Durable Object for each running build. */
const LIVE_LIST_MAX = 20;

const ListQuery = z.object({
  status: z.enum(BUILD_STATUSES).optional(),
  pool: Id.optional(),
  cursor: Id.optional(),
  live: z.enum(['0', '1']).default('0'),
  limit: wholeNumber(1, LIST_MAX).default(20),
});

export function buildRoutes(on: On, { timeoutMinima, workerTimeoutMs }: Settings): void {
  on('POST /api/builds')(valid('json', buildRequest(timeoutMinima), BUILD_MAX_BYTES), async (c) => {
    const request = c.req.valid('json');
    if (!may(c.var.key, 'builds.submit', { pool: request.pool }))
      return answerRefusal(c, foreignPool(c.var.key, request.pool));
    const found = await projectOf(c.env, request.project, c.var.key, request.source.sha256, Date.now());
    if (!found.ok) return answerRefusal(c, found);
    const submitted = await submitBuild(c.env, request, found.project, c.var.key, Date.now());
    if (!submitted.ok) return answerRefusal(c, submitted);
    return c.json(viewBuild(submitted.build, null), submitted.changed ? 201 : 200);
  });

  on('GET /api/builds')(valid('query', ListQuery), async (c) => {
    const { live, limit, ...filter } = c.req.valid('query');
    const withLive = live === '1';
    return c.json(
      await viewBuildList(
        c.env,
        { ...filter, by: c.var.key, limit: withLive ? Math.min(limit, LIVE_LIST_MAX) : limit },
        withLive,
      ),
    );
  });

  on('GET /api/builds/:id')(async (c) =>
    c.json(await viewBuildDetail(c.env, c.var.build, workerTimeoutMs, Date.now())),
  );

  on('POST /api/builds/:id/cancel')(async (c) => {
    const { id } = c.var.build;
    const cancelled = await apply(c.env, id, { type: 'cancel' }, Date.now());
    if (!cancelled.ok) return answerRefusal(c, cancelled);
    drainSoon(c.env, id);
    return c.json(viewBuild(cancelled.build, (await findAttempt(c.env, id, cancelled.build.attempt)) ?? null));
  });

  on('POST /api/builds/:id/retry')(validIfAny(RetryRequest), async (c) => {
    const retried = await retryBuild(c.env, c.var.build, c.req.valid('json'), c.var.key, Date.now());
    if (!retried.ok) return answerRefusal(c, retried);
    return c.json(viewBuild(retried.build, null), retried.changed ? 201 : 200);
  });
}

const foreignPool = ({ rights: { pools } }: AuthenticatedKey, pool: string) =>
  refusal(
    'forbidden',
    `pool: this key may not submit to ${pool}, only to ${pools === '*' ? 'others' : pools.join(', ')}`,
  );
