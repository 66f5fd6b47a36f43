/**
 * Turns a row of the table of routes into its authorisation: a middleware that finds out who asks, refuses
 * those who may not, and reads what `:id` names.
 *
 * Invariant: the caller and the build or worker are read once, here, and handed to the handler.
 */
import type { Context } from 'hono';
import { createMiddleware } from 'hono/factory';
import { type AttemptCaller, findAttemptCaller, findCallersKey } from '../access/auth.ts';
import type { AuthenticatedKey } from '../access/keys.ts';
import { refuseHurryingStranger } from '../access/rate-limits.ts';
import { may } from '../access/rights.ts';
import { type BuildRow, findBuild } from '../builds/rows.ts';
import { answerRefusal, type Refusal, refusal } from '../refusals.ts';
import { IdParam, invalidRequest } from '../validate.ts';
import { findWorker, noWorker, type WorkerRow } from '../workers/registry.ts';
import type { KeyWho, Row } from './route-table.ts';

/** What authorisation may find. The row decides which of them are set. */
interface Found {
  key: AuthenticatedKey;
  caller: AttemptCaller;
  build: BuildRow;
  worker: WorkerRow;
}
type FoundContext = Context<{ Bindings: Env; Variables: Found }>;

/** Which keys a row allows, and in words for a caller that it does not allow. `id` is `:id` of the path. */
const KEYS: Record<KeyWho, { allows(key: AuthenticatedKey, id: string): boolean; needs: string }> = {
  'any key': { allows: () => true, needs: 'an API key' },
  admin: { allows: ({ scope }) => scope === 'admin', needs: 'a key of scope admin' },
  submitter: { allows: ({ scope }) => scope !== 'worker', needs: 'a key of scope submit or admin' },
  'blob writer': { allows: () => true, needs: 'a key of scope submit, admin or worker' },
  'this worker': {
    allows: ({ scope, workerId }, id) => scope === 'worker' && workerId === id,
    needs: 'the key of the worker that the path names',
  },
  'admin or this key': {
    allows: (key, id) => key.scope === 'admin' || key.id === id,
    needs: 'a key of scope admin, or the key itself',
  },
};

export const authorisationOf = (row: Row) =>
  createMiddleware<{ Bindings: Env; Variables: Found }>(async (c, next) => {
    const id = c.req.param('id') ?? '';
    const refused = await refuse(c, row, id);
    return refused ? answerRefusal(c, refused) : next();
  });

async function refuse(c: FoundContext, row: Row, id: string): Promise<Refusal | null> {
  if (row.who === 'anyone') return refuseHurryingStranger(c);
  if (row.who === 'attempt') {
    const found = await findAttemptCaller(c, row.by, id);
    if (!found.ok) return found;
    c.set('caller', found.caller);
    return null;
  }
  const { allows, needs } = KEYS[row.who];
  const found = await findCallersKey(c, needs);
  if (!found.ok) return found;
  const { key } = found;
  if (!allows(key, id)) return refusal('forbidden', `the key has scope ${key.scope}; this needs ${needs}`);
  c.set('key', key);
  return row.finds ? FIND[row.finds](c, id) : null;
}

const FIND = {
  /** A build of another pool is answered like one that does not exist, so that nobody learns of it. */
  build: async (c: FoundContext, id: string): Promise<Refusal | null> => {
    const malformed = refuseMalformed(id);
    if (malformed) return malformed;
    const build = await findBuild(c.env, id);
    if (!build || !may(c.var.key, 'builds.read', build)) return refusal('not_found', `there is no build ${id}`);
    c.set('build', build);
    return null;
  },
  worker: async (c: FoundContext, id: string): Promise<Refusal | null> => {
    const malformed = refuseMalformed(id);
    if (malformed) return malformed;
    const worker = await findWorker(c.env, id);
    if (!worker) return noWorker(id);
    c.set('worker', worker);
    return null;
  },
};

/** D1 is not asked for an id that cannot be one. */
function refuseMalformed(id: string): Refusal | null {
  const { error } = IdParam.safeParse({ id });
  return error ? invalidRequest(error) : null;
}
