/**
 * Turns a row of the table of routes into its authorisation: a middleware that finds the caller, refuses one
 * that may not use the route, and reads the thing that `:id` names.
 *
 * Invariant: the caller and the thing that `:id` names are read once, here, and handed to the handler. For a
 * thing that a key does not reach, the answer and the reads behind it are those for one that does not exist.
 */
import type { Context } from 'hono';
import { createMiddleware } from 'hono/factory';
import { type AttemptCaller, findAttemptCaller, findCallersKey } from '../access/auth.ts';
import { ADMIN_KEY_ID, type AuthenticatedKey, findManagedKey, type KeyRow as KeyRowOfTable } from '../access/keys.ts';
import { refuseHurryingStranger } from '../access/rate-limits.ts';
import { hasRight, may, needed, type Right, type Thing, takes } from '../access/rights.ts';
import { type BuildRow, findLiveBuild } from '../builds/rows.ts';
import { findLink, type LinkRow } from '../install-links/links.ts';
import { findProject, noProject, type ProjectRow } from '../projects/find-project.ts';
import { answerRefusal, type Refusal, refusal } from '../refusals.ts';
import type { SubmissionRow } from '../submissions/submitted.ts';
import { findSubmission } from '../submissions/views.ts';
import { IdParam, invalidRequest } from '../validate.ts';
import { findWorker, noWorker, type WorkerRow } from '../workers/registry.ts';
import type { KeyRow, Kind, Row } from './route-table.ts';

/** The results of authorisation. The row decides which of them are set. */
export interface Found {
  key: AuthenticatedKey;
  caller: AttemptCaller;
  build: BuildRow;
  worker: WorkerRow;
  project: ProjectRow;
  /** The project that `:id` names, if the key does not reach it. The audit alone reads it. */
  foreignProject: ProjectRow;
  /** The key that `:id` names. Not set if the caller asks for itself. */
  namedKey: KeyRowOfTable | undefined;
  submission: SubmissionRow;
  link: LinkRow;
}
type FoundContext = Context<{ Bindings: Env; Variables: Found }>;

export const authorisationOf = (row: Row) =>
  createMiddleware<{ Bindings: Env; Variables: Found }>(async (c, next) => {
    const refused = await refuse(c, row, c.req.param('id') ?? '');
    return refused ? answerRefusal(c, refused) : next();
  });

async function refuse(c: FoundContext, row: Row, id: string): Promise<Refusal | null> {
  if ('right' in row) return refuseKey(c, row, id);
  if (row.who === 'anyone') return refuseHurryingStranger(c);
  const found = await findAttemptCaller(c, row.by, id);
  if (!found.ok) return found;
  c.set('caller', found.caller);
  return null;
}

async function refuseKey(c: FoundContext, row: KeyRow, id: string): Promise<Refusal | null> {
  const { right, finds, orItself } = row;
  const needs = orItself ? `${needed(right)}, or the key itself` : needed(right);
  const found = await findCallersKey(c, needs);
  if (!found.ok) return found;
  const { key } = found;
  c.set('key', key);
  if (orItself && key.id === id) return null;
  const forbidden = refusal('forbidden', `the key has scope ${key.scope}; this needs ${needs}`);
  // This reads nothing, because an agent asks all the time, and its path names its worker.
  if (!hasRight(key, right) || (right === 'worker' && !may(key, right, { workerId: id }))) return forbidden;
  if (!finds) return null;
  const { error } = IdParam.safeParse({ id });
  // This cannot be an id, so D1 need not be asked.
  if (error) return invalidRequest(error);
  const { find, missing } = FIND[finds];
  const reached = await find(c, id, right);
  if (reached === true) return null;
  if (reached) return reached;
  return row.others === 403 ? forbidden : missing(id);
}

/**
 * Whether the key may use the right for the thing. If the key sees the thing, the refusal says why: no key
 * has such a right in the project default.
 */
function reaches(key: AuthenticatedKey, right: Right, what: string, thing: Thing): boolean | Refusal {
  if (may(key, right, thing)) return true;
  if (!may(key, 'builds.read', thing) || takes(thing, right)) return false;
  return refusal(
    'forbidden',
    `${what} is of the project default, where no key has the right ${right}; build it in another project`,
  );
}

interface Finder {
  /**
   * Reads the thing that `:id` names, and sets it. False if it does not exist, or the key does not reach it.
   * A refusal if the key sees it, and may not use the right for it.
   */
  find(c: FoundContext, id: string, right: Right): Promise<boolean | Refusal>;
  missing(id: string): Refusal;
}

const FIND: Record<Kind, Finder> = {
  build: {
    find: async (c, id, right) => {
      const build = await findLiveBuild(c.env, id);
      if (!build) return false;
      const reached = reaches(c.var.key, right, `build ${id}`, thingOf(build));
      if (reached === true) c.set('build', build);
      return reached;
    },
    missing: (id) => refusal('not_found', `there is no build ${id}`),
  },
  // The pool and trust of a worker are not compared: only an admin of the farm and its own agent get here.
  worker: {
    find: async (c, id) => {
      const worker = await findWorker(c.env, id);
      if (!worker) return false;
      c.set('worker', worker);
      return true;
    },
    missing: noWorker,
  },
  project: {
    find: async (c, id, right) => {
      const project = await findProject(c.env, id);
      if (!project) return false;
      const reached = may(c.var.key, right, { projectId: project.id });
      c.set(reached ? 'project' : 'foreignProject', project);
      return reached;
    },
    missing: noProject,
  },
  submission: {
    find: async (c, id, right) => {
      const found = await findSubmission(c.env, id);
      if (!found || !may(c.var.key, right, found.thing)) return false;
      c.set('submission', found.submission);
      return true;
    },
    missing: (id) => refusal('not_found', `there is no submission ${id}`),
  },
  link: {
    find: async (c, id, right) => {
      const found = await findLink(c.env, id);
      if (!found || !may(c.var.key, right, found.thing)) return false;
      c.set('link', found.link);
      return true;
    },
    missing: (id) => refusal('not_found', `there is no link ${id}`),
  },
  key: {
    find: async (c, id) => {
      // The handler refuses ADMIN_KEY, and says how to change it.
      if (id === ADMIN_KEY_ID && may(c.var.key, 'farm')) return true;
      const named = await findManagedKey(c.env, c.var.key, id);
      if (!named) return false;
      c.set('namedKey', named);
      return true;
    },
    missing: (id) => refusal('not_found', `there is no key ${id}; \`GET /api/keys\` lists the keys`),
  },
};

const thingOf = ({ projectId, pool, trusted }: BuildRow): Thing => ({ projectId, pool, trusted });
