/** Answers submitters: submits, lists, shows, cancels and retries builds. */
import { z } from 'zod';
import {
  Branch,
  BUILD_REQUEST_MAX_BYTES,
  BUILD_STATUSES,
  type Build,
  type BuildDetail,
  buildRequest,
  Commit,
  Fingerprint,
  Group,
  Id,
  LIVE_PAGE_MAX,
  type Live,
  PAGE_MAX,
  PULL_REQUEST_MAX,
  Repository,
  RetryRequest,
} from '#contract';
import type { AuthenticatedKey } from '../access/keys.ts';
import { projectOf } from '../access/reached-project.ts';
import { may } from '../access/rights.ts';
import { apply } from '../builds/apply.ts';
import { CursorParam, viewBuildList } from '../builds/list.ts';
import { retryBuild } from '../builds/retry.ts';
import type { BuildRow } from '../builds/rows.ts';
import { type AskStore, submitBuild } from '../builds/submit.ts';
import { viewBuildDetail, viewStored } from '../builds/views.ts';
import { findProject, noProject } from '../projects/find-project.ts';
import { readWaiting } from '../queue/waiting.ts';
import { answerRefusal, refusal } from '../refusals.ts';
import type { Settings } from '../settings.ts';
import { beforeBuild } from '../submissions/before-build.ts';
import { listSubmissionsOf } from '../submissions/views.ts';
import { drainSoon } from '../upkeep/outbox.ts';
import { valid, validIfAny, wholeNumber } from '../validate.ts';
import type { On } from './register.ts';

/** The filters whose indices begin with the project. */
const OF_A_PROJECT = ['repository', 'branch', 'commit', 'pullRequest', 'group', 'fingerprint'] as const;

const ListQuery = z
  .strictObject({
    status: z.enum(BUILD_STATUSES).optional(),
    pool: Id.optional(),
    trusted: z
      .enum(['0', '1'])
      .transform((flag) => flag === '1')
      .optional(),
    /** Its id or name. */
    project: Id.optional(),
    repository: Repository.optional(),
    branch: Branch.optional(),
    commit: Commit.optional(),
    pullRequest: wholeNumber(1, PULL_REQUEST_MAX).optional(),
    group: Group.optional(),
    fingerprint: Fingerprint.optional(),
    cursor: CursorParam,
    live: z.enum(['0', '1']).default('0'),
    limit: wholeNumber(1, PAGE_MAX).default(20),
  })
  .refine((query) => query.project !== undefined || OF_A_PROJECT.every((filter) => query[filter] === undefined), {
    path: ['project'],
    message: `is needed with ${OF_A_PROJECT.join(', ')}`,
  });

export function buildRoutes(on: On, { timeoutMinima, workerTimeoutMs, stores }: Settings): void {
  const askFor =
    (env: Env, key: AuthenticatedKey): AskStore =>
    async ({ trusted, ...build }) => {
      const { projectId, pool } = build;
      // Only a key that may submit to a store learns what the store has.
      if (!trusted || !may(key, 'stores', { projectId, pool, trusted })) return { ok: true, warnings: [] };
      return beforeBuild(env, build, key, stores, Date.now());
    };

  on('POST /api/builds')(valid('json', buildRequest(timeoutMinima), BUILD_REQUEST_MAX_BYTES), async (c) => {
    const request = c.req.valid('json');
    if (!may(c.var.key, 'builds.submit', { pool: request.pool }))
      return answerRefusal(c, foreignPool(c.var.key, request.pool));
    const found = await projectOf(c.env, request, c.var.key, Date.now());
    if (!found.ok) return answerRefusal(c, found);
    const { key } = c.var;
    const submitted = await submitBuild(c.env, request, found.project, key, Date.now(), askFor(c.env, key));
    if (!submitted.ok) return answerRefusal(c, submitted);
    if (submitted.changed && request.cancelSuperseded) drainSoon(c.env, submitted.build.id);
    return c.json(await shown(c.env, submitted.build.id, c.var.key), submitted.changed ? 201 : 200);
  });

  on('GET /api/builds')(valid('query', ListQuery), async (c) => {
    const { live, limit, project: named, ...filter } = c.req.valid('query');
    const project = named === undefined ? undefined : await findProject(c.env, named);
    if (named !== undefined && !(project && may(c.var.key, 'builds.read', { projectId: project.id })))
      return answerRefusal(c, noProject(named));
    const withLive = live === '1';
    const page = { projectId: project?.id, limit: withLive ? Math.min(limit, LIVE_PAGE_MAX) : limit };
    return c.json(await viewBuildList(c.env, c.var.key, { ...filter, ...page }, withLive));
  });

  on('GET /api/builds/:id')(async (c) => {
    const now = Date.now();
    const why = (row: BuildRow, live: Live | null) => readWaiting(c.env, row, live, workerTimeoutMs, now);
    const detail = await viewBuildDetail(c.env, c.var.build, c.var.key, why, now);
    const submissions = await listSubmissionsOf(c.env, c.var.build.id);
    return c.json({ ...detail, submissions } satisfies BuildDetail);
  });

  on('POST /api/builds/:id/cancel')(async (c) => {
    const { id } = c.var.build;
    const cancelled = await apply(c.env, id, { type: 'cancel' }, Date.now());
    if (!cancelled.ok) return answerRefusal(c, cancelled);
    drainSoon(c.env, id);
    return c.json(await shown(c.env, id, c.var.key));
  });

  on('POST /api/builds/:id/retry')(validIfAny(RetryRequest), async (c) => {
    const { build, key } = c.var;
    const retried = await retryBuild(c.env, build, c.req.valid('json'), key, Date.now(), askFor(c.env, key));
    if (!retried.ok) return answerRefusal(c, retried);
    return c.json(await shown(c.env, retried.build.id, c.var.key), retried.changed ? 201 : 200);
  });
}

/** The build as it is now. It was there a moment ago. */
async function shown(env: Env, buildId: string, reader: AuthenticatedKey): Promise<Build> {
  const build = await viewStored(env, buildId, reader);
  if (!build) throw new Error(`build ${buildId} was removed while it was read`);
  return build;
}

const foreignPool = ({ rights: { pools } }: AuthenticatedKey, pool: string) =>
  refusal(
    'forbidden',
    `pool: this key may not submit to ${pool}, only to ${pools === '*' ? 'others' : pools.join(', ')}`,
  );
