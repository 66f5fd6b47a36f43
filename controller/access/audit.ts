/**
 * Records who did what, when, and to what.
 *
 * Invariant: every route that changes something is in ACTIONS or in UNRECORDED. An entry is written before
 * the answer leaves. It holds ids and figures alone, never a secret, a command or an environment.
 *
 * Owns the table `audit`.
 */
import { and, desc, lt, type SQL, sql } from 'drizzle-orm';
import { createMiddleware } from 'hono/factory';
import { matchedRoutes } from 'hono/route';
import type { AuditEntry, Rights } from '#contract';
import { insertIf, openDatabase } from '../database.ts';
import { audit } from '../schema/index.ts';
import { iso } from '../times.ts';
import type { AuthenticatedKey } from './keys.ts';
import { type Holder, may, parseRights } from './rights.ts';

interface Action {
  action: string;
  /** The kind of thing that the action changes or reads. The entry names the thing as `KIND/ID`. */
  kind:
    | 'build'
    | 'worker'
    | 'key'
    | 'project'
    | 'pool'
    | 'image'
    | 'secret'
    | 'store_key'
    | 'number'
    | 'submission'
    | 'link';
  /** The parameters of the path that have its id. Left out: `id`. */
  params?: readonly string[];
  /** Finds the id of a new thing in the answer. */
  created?: (answer: Answered) => string | undefined;
  /** Finds the changed figures in the answer, and nothing but figures. */
  detail?: (answer: Answered) => Record<string, number | null>;
  /** Refused requests are recorded too. On a route that only reads, they alone are recorded. */
  denied?: true;
}

/** The recorded actions by method and path. */
export const ACTIONS: Record<string, Action> = {
  'POST /api/builds': { action: 'build.submit', kind: 'build', created: ({ id }) => id },
  'POST /api/builds/:id/cancel': { action: 'build.cancel', kind: 'build' },
  'POST /api/builds/:id/retry': { action: 'build.retry', kind: 'build' },
  'POST /api/builds/:id/submissions': {
    ...{ action: 'submission.create', kind: 'submission', denied: true },
    created: ({ id }) => id,
  },
  'POST /api/submissions/:id/cancel': { action: 'submission.cancel', kind: 'submission' },
  'POST /api/builds/:id/links': { action: 'link.create', kind: 'link', created: ({ id }) => id, denied: true },
  'GET /api/builds/:id/links': { action: 'link.list', kind: 'build', denied: true },
  'GET /api/projects/:id/links': { action: 'link.list', kind: 'project', denied: true },
  'DELETE /api/links/:id': { action: 'link.revoke', kind: 'link', denied: true },
  'PUT /api/projects/:id/secrets/:name': { action: 'secret.set', kind: 'secret', params: ['name'], denied: true },
  'DELETE /api/projects/:id/secrets/:name': { action: 'secret.remove', kind: 'secret', params: ['name'], denied: true },
  'GET /api/projects/:id/secrets': { action: 'secret.list', kind: 'project', denied: true },
  'PUT /api/projects/:id/store-keys/:name': {
    ...{ action: 'store_key.set', kind: 'store_key', params: ['name'], denied: true },
  },
  'DELETE /api/projects/:id/store-keys/:name': {
    ...{ action: 'store_key.remove', kind: 'store_key', params: ['name'], denied: true },
  },
  'GET /api/projects/:id/store-keys': { action: 'store_key.list', kind: 'project', denied: true },
  'PUT /api/projects/:id/numbers/:platform/:appId': {
    ...{ action: 'number.set', kind: 'number', params: ['platform', 'appId'] },
    detail: ({ was = null, value = null }) => ({ was, value }),
  },
  'POST /api/projects': { action: 'project.create', kind: 'project', created: ({ id }) => id },
  'PATCH /api/projects/:id': { action: 'project.change', kind: 'project' },
  'DELETE /api/projects/:id': { action: 'project.delete', kind: 'project' },
  'PATCH /api/pools/:pool': { action: 'pool.change', kind: 'pool', params: ['pool'] },
  'PUT /api/pools/:pool/images/:name': { action: 'image.set', kind: 'image', params: ['pool', 'name'] },
  'DELETE /api/pools/:pool/images/:name': { action: 'image.remove', kind: 'image', params: ['pool', 'name'] },
  'POST /api/workers': { action: 'worker.register', kind: 'worker', created: ({ worker }) => worker?.id },
  'PATCH /api/workers/:id': { action: 'worker.change', kind: 'worker' },
  'DELETE /api/workers/:id': { action: 'worker.remove', kind: 'worker' },
  'POST /api/workers/:id/enrolments': { action: 'worker.enrolment', kind: 'worker' },
  'POST /api/workers/enrol': { action: 'worker.enrol', kind: 'worker', created: ({ workerId }) => workerId },
  'POST /api/keys': { action: 'key.create', kind: 'key', created: ({ key }) => key?.id },
  'POST /api/keys/:id/rotate': { action: 'key.rotate', kind: 'key' },
  'DELETE /api/keys/:id': { action: 'key.revoke', kind: 'key' },
};

/**
 * Routes that change something and are not recorded. The timeline of a build already shows its attempts, and
 * a file is named by its digest.
 */
export const UNRECORDED: readonly string[] = [
  'POST /api/builds/:id/heartbeat',
  'POST /api/builds/:id/reports',
  'POST /api/builds/:id/kept',
  'POST /api/builds/:id/number',
  'PUT /api/builds/:id/logs',
  'POST /api/workers/:id/claim',
  'POST /api/workers/:id/findings',
  'POST /api/workers/:id/status',
  'PUT /api/builds/:id/blobs/:sha256',
  'POST /api/builds/:id/blobs/:sha256/uploads',
  'PUT /api/builds/:id/blobs/:sha256/uploads/:upload/parts/:part',
  'POST /api/builds/:id/blobs/:sha256/uploads/:upload/complete',
  'DELETE /api/builds/:id/blobs/:sha256/uploads/:upload',
  'PUT /api/blobs/:sha256',
  'POST /api/blobs/:sha256/uploads',
  'PUT /api/blobs/:sha256/uploads/:upload/parts/:part',
  'POST /api/blobs/:sha256/uploads/:upload/complete',
  'DELETE /api/blobs/:sha256/uploads/:upload',
];

interface Answered {
  id?: string;
  projectId?: string;
  workerId?: string;
  key?: { id?: string; rights?: Rights };
  worker?: { id?: string };
  value?: number;
  was?: number | null;
}

/** The number of newest entries that are kept. At 50 changes an hour they cover about eight months. */
const AUDIT_MAX = 300_000;
export const AUDIT_LIST_MAX = 200;
/** The most refused requests of one key recorded in a minute, so that a flood of them hides no entry. */
export const DENIED_A_MINUTE_MAX = 10;

/** Recorded for a caller without a key, who traded an enrolment code. */
const STRANGER = { id: 'none', name: 'enrolment code' };

/** The findings of authorisation (routes/authorise.ts). The entry takes its project from them. */
interface Found {
  key: AuthenticatedKey;
  build: { projectId: string } | undefined;
  link: { projectId: string } | undefined;
  project: { id: string } | undefined;
  /** A project that the key does not reach. */
  foreignProject: { id: string } | undefined;
  namedKey: { rights: string } | undefined;
}

/**
 * Middleware for all routes: records each request that changed something, and refused requests where ACTIONS
 * says so.
 */
export const recorded = createMiddleware<{ Bindings: Env; Variables: Found }>(async (c, next) => {
  await next();
  const route = matchedRoutes(c).find(({ method, path }) => method === c.req.method && path !== '/api/*');
  const entry = route && ACTIONS[`${route.method} ${route.path}`];
  if (!entry) return;
  const key = c.get('key') as AuthenticatedKey | undefined;
  const denied = c.res.status === 403 || c.res.status === 404;
  if (denied ? !(entry.denied && key) : !c.res.ok || c.req.method === 'GET') return;
  const isRead = !denied && (c.req.method === 'POST' || entry.detail !== undefined);
  const answer = isRead ? await c.res.clone().json<Answered>() : {};
  const id = entry.created ? entry.created(answer) : partsIn(c.req.path, route.path, entry.params ?? ['id']);
  const projectId =
    (c.get('build') ?? c.get('link'))?.projectId ||
    (c.get('project') ?? c.get('foreignProject'))?.id ||
    answer.projectId ||
    // An entry about a key belongs to a project if the key reaches only that project.
    (entry.kind === 'key' && oneProject(rightsOfKey(answer, c.get('namedKey'), key))) ||
    null;
  const { id: keyId, name: keyName } = key ?? STRANGER;
  const target = id === undefined ? null : `${entry.kind}/${id}`;
  const detail = (!denied && entry.detail?.(answer)) || null;
  await add(c.env, { at: Date.now(), keyId, keyName, action: entry.action, target, detail, projectId, denied })
    // The failure is only logged, because the change is made and an error would make the caller repeat it.
    .catch((error: unknown) =>
      console.error(JSON.stringify({ event: 'audit_failed', ...entry, error: String(error) })),
    );
});

/** Records that a counter got its first number from a store. This has no route of its own. */
export const recordSeed = (
  env: Env,
  by: { id: string; name: string },
  app: { projectId: string; platform: string; appId: string },
  value: number,
  now: number,
): Promise<void> =>
  add(env, {
    ...{ at: now, keyId: by.id, keyName: by.name, projectId: app.projectId, denied: false },
    ...{ action: 'number.seed', target: `number/${app.platform}/${app.appId}`, detail: { was: null, value } },
  });

const rightsOfKey = (
  { key: made }: Answered,
  named: Found['namedKey'],
  self: AuthenticatedKey | undefined,
): Rights | undefined => made?.rights ?? (named ? parseRights(named.rights) : self?.rights);

const oneProject = (rights: Rights | undefined): string | undefined =>
  rights && rights.projects !== '*' && rights.projects.length === 1 ? rights.projects[0] : undefined;

/** The parts of the path where the route has these parameters. Undefined if one is malformed. */
function partsIn(path: string, route: string, names: readonly string[]): string | undefined {
  const parts = names.map((name) => parameterIn(path, route, name));
  return parts.includes(undefined) ? undefined : parts.join('/');
}

/** The part of the path where the route has `:name`. */
function parameterIn(path: string, route: string, name: string): string | undefined {
  const part = path.split('/')[route.split('/').findIndex((one) => one.replace(/\{.*/, '') === `:${name}`)];
  try {
    return part === undefined ? undefined : decodeURIComponent(part).slice(0, TARGET_MAX_CHARS);
  } catch {
    return undefined;
  }
}

/** Longer than every id that exists. */
const TARGET_MAX_CHARS = 256;

async function add(env: Env, row: typeof audit.$inferInsert): Promise<void> {
  const db = openDatabase(env);
  const lately = sql`(SELECT count(*) FROM (SELECT * FROM audit ORDER BY id DESC LIMIT ${LATELY_ROWS})
    WHERE denied AND key_id = ${row.keyId} AND at > ${row.at - MINUTE_MS})`;
  await db.batch([insertIf(db, audit, row, row.denied ? sql`${lately} < ${DENIED_A_MINUTE_MAX}` : sql`TRUE`)]);
}

/** Refused requests are counted among this many newest entries, so that a refusal stays cheap. */
const LATELY_ROWS = 500;
const MINUTE_MS = 60_000;

/**
 * A page of entries, newest first. With `cursor`, the id of an entry, only older ones. The admin of projects
 * sees only entries of its projects.
 */
export async function listAudit(env: Env, by: Holder, cursor: number | undefined, limit: number) {
  const rows = await openDatabase(env)
    .select()
    .from(audit)
    .where(and(cursor === undefined ? undefined : lt(audit.id, cursor), isSeenBy(by)))
    .orderBy(desc(audit.id))
    .limit(limit);
  const entries = rows.map((row): AuditEntry => ({ ...row, at: iso(row.at) }));
  return { entries, nextCursor: rows.length === limit ? String(rows.at(-1)!.id) : null };
}

const isSeenBy = (by: Holder): SQL | undefined =>
  may(by, 'farm')
    ? undefined
    : sql`${audit.projectId} IN (SELECT value FROM json_each(${JSON.stringify(by.rights.projects)}))`;

/** Called by the sweep: removes the oldest entries. Ids only grow, so the oldest have the lowest ids. */
export async function boundAudit(env: Env): Promise<void> {
  const db = openDatabase(env);
  const newest = await db.select({ id: audit.id }).from(audit).orderBy(desc(audit.id)).limit(1).get();
  if (newest && newest.id > AUDIT_MAX) await db.delete(audit).where(lt(audit.id, newest.id - AUDIT_MAX + 1));
}
