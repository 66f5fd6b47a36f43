/**
 * Records who did what, when, and to what.
 *
 * Invariant: every route that changes something is in ACTIONS or in UNRECORDED. An entry is written before
 * the answer leaves. It holds ids alone, never a secret, a command or an environment.
 *
 * Owns the table `audit`.
 */
import { desc, lt } from 'drizzle-orm';
import { createMiddleware } from 'hono/factory';
import { matchedRoutes } from 'hono/route';
import type { AuditEntry } from '#contract';
import { openDatabase } from '../database.ts';
import { audit } from '../schema/index.ts';
import { iso } from '../times.ts';
import type { AuthenticatedKey } from './keys.ts';

/** The recorded actions by method and path. `created` finds the id of a new thing in the answer. */
export const ACTIONS: Record<string, { action: string; created?: (answer: Answered) => string | undefined }> = {
  'POST /api/builds': { action: 'build.submit', created: ({ id }) => id },
  'POST /api/builds/:id/cancel': { action: 'build.cancel' },
  'POST /api/builds/:id/retry': { action: 'build.retry' },
  'POST /api/workers': { action: 'worker.register', created: ({ worker }) => worker?.id },
  'PATCH /api/workers/:id': { action: 'worker.change' },
  'DELETE /api/workers/:id': { action: 'worker.remove' },
  'POST /api/workers/:id/enrolments': { action: 'worker.enrolment' },
  'POST /api/workers/enrol': { action: 'worker.enrol', created: ({ workerId }) => workerId },
  'POST /api/keys': { action: 'key.create', created: ({ key }) => key?.id },
  'POST /api/keys/:id/rotate': { action: 'key.rotate' },
  'DELETE /api/keys/:id': { action: 'key.revoke' },
};

/**
 * Routes that change something and are not recorded. The timeline of a build tells of its attempts, and a
 * file has its name.
 */
export const UNRECORDED: readonly string[] = [
  'POST /api/builds/:id/heartbeat',
  'POST /api/builds/:id/reports',
  'PUT /api/builds/:id/logs',
  'POST /api/workers/:id/claim',
  'POST /api/workers/:id/findings',
  'POST /api/workers/:id/status',
  'PUT /api/blobs/:sha256',
  'POST /api/blobs/:sha256/uploads',
  'PUT /api/blobs/:sha256/uploads/:upload/parts/:part',
  'POST /api/blobs/:sha256/uploads/:upload/complete',
  'DELETE /api/blobs/:sha256/uploads/:upload',
];

interface Answered {
  id?: string;
  workerId?: string;
  key?: { id?: string };
  worker?: { id?: string };
}

/** So many newest entries are kept. At 50 changes an hour these are about eight months. */
export const AUDIT_MAX = 300_000;
export const AUDIT_LIST_MAX = 200;

/** Recorded for a caller without a key, who traded an enrolment code. */
const STRANGER = { id: 'none', name: 'enrolment code' };

/** Middleware for all routes: records each one that changed something. */
export const recorded = createMiddleware<{ Bindings: Env; Variables: { key: AuthenticatedKey } }>(async (c, next) => {
  await next();
  if (!c.res.ok || c.req.method === 'GET' || c.req.method === 'HEAD') return;
  const route = matchedRoutes(c).find(({ method }) => method === c.req.method);
  const entry = route && ACTIONS[`${route.method} ${route.path}`];
  if (!entry) return;
  const { id: keyId, name: keyName } = c.get('key') ?? STRANGER;
  const target = entry.created ? entry.created(await c.res.clone().json<Answered>()) : idIn(c.req.path);
  await openDatabase(c.env)
    .insert(audit)
    .values({ at: Date.now(), keyId, keyName, action: entry.action, target: target ?? null })
    // Only logged: the change is made, and an error would make the caller repeat it.
    .catch((error: unknown) =>
      console.error(JSON.stringify({ event: 'audit_failed', ...entry, error: String(error) })),
    );
});

/** `/api/KIND/ID…` */
const idIn = (path: string) => path.split('/')[3];

/** A page of entries, newest first. With `cursor`, the id of an entry, only older ones. */
export async function listAudit(env: Env, cursor: number | undefined, limit: number) {
  const rows = await openDatabase(env)
    .select()
    .from(audit)
    .where(cursor === undefined ? undefined : lt(audit.id, cursor))
    .orderBy(desc(audit.id))
    .limit(limit);
  const entries = rows.map((row): AuditEntry => ({ ...row, at: iso(row.at) }));
  return { entries, nextCursor: rows.length === limit ? String(rows.at(-1)!.id) : null };
}

/** Called by the sweep: removes the oldest entries. Ids only grow, so the oldest have the lowest ids. */
export async function boundAudit(env: Env): Promise<void> {
  const db = openDatabase(env);
  const newest = await db.select({ id: audit.id }).from(audit).orderBy(desc(audit.id)).limit(1).get();
  if (newest && newest.id > AUDIT_MAX) await db.delete(audit).where(lt(audit.id, newest.id - AUDIT_MAX + 1));
}
