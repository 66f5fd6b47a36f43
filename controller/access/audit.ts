/**
 * Who did what, when, to what. The one owner of the `audit` table.
 * Invariant: what people's keys change is in ACTIONS or in UNRECORDED; the test of the routes knows no third. An entry is written
 * before the answer leaves. It never holds a secret, a command or an environment: ids alone.
 */
import { desc, lt } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/d1';
import { createMiddleware } from 'hono/factory';
import { matchedRoutes } from 'hono/route';
import type { AuditEntry } from '#contract';
import { audit } from '../schema.ts';
import type { AuthenticatedKey } from './keys.ts';

/** By method and path. `created` finds the id of what was made, where the path does not name it. */
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

/** What changes something and is not recorded: an attempt tells of itself in the timeline of its build, a file by its name. */
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

/** The newest entries are kept: at 50 changes an hour, some eight months. */
export const AUDIT_MAX = 300_000;
export const AUDIT_LIST_MAX = 200;

/** Behind no key: whoever traded a code. */
const STRANGER = { id: 'none', name: 'enrolment code' };

/** For all routes: records those that changed something. */
export const recorded = createMiddleware<{ Bindings: Env; Variables: { key: AuthenticatedKey } }>(async (c, next) => {
  await next();
  if (!c.res.ok || c.req.method === 'GET' || c.req.method === 'HEAD') return;
  const route = matchedRoutes(c).find(({ method }) => method === c.req.method);
  const entry = route && ACTIONS[`${route.method} ${route.path}`];
  if (!entry) return;
  const { id: keyId, name: keyName } = c.get('key') ?? STRANGER;
  const target = entry.created ? entry.created(await c.res.clone().json<Answered>()) : idIn(c.req.path);
  await drizzle(c.env.DB)
    .insert(audit)
    .values({ at: Date.now(), keyId, keyName, action: entry.action, target: target ?? null })
    // The deed is done: an answer that says otherwise would make it be done twice.
    .catch((error: unknown) =>
      console.error(JSON.stringify({ event: 'audit_failed', ...entry, error: String(error) })),
    );
});

/** `/api/KIND/ID…` */
const idIn = (path: string) => path.split('/')[3];

/** Newest first. `cursor` is the id of an entry: those before it. */
export async function listAudit(env: Env, cursor: number | undefined, limit: number) {
  const rows = await drizzle(env.DB)
    .select()
    .from(audit)
    .where(cursor === undefined ? undefined : lt(audit.id, cursor))
    .orderBy(desc(audit.id))
    .limit(limit);
  const entries = rows.map((row): AuditEntry => ({ ...row, at: new Date(row.at).toISOString() }));
  return { entries, nextCursor: rows.length === limit ? String(rows.at(-1)!.id) : null };
}

/** Called by the sweep. Ids only grow, so the oldest are those furthest below the newest. */
export async function boundAudit(env: Env): Promise<void> {
  const db = drizzle(env.DB);
  const newest = await db.select({ id: audit.id }).from(audit).orderBy(desc(audit.id)).limit(1).get();
  if (newest && newest.id > AUDIT_MAX) await db.delete(audit).where(lt(audit.id, newest.id - AUDIT_MAX + 1));
}
