/** Every route on one screen, and the edges that all share: headers, an old agent, the last word on errors. Each route bounds its own body. */
import { Hono } from 'hono';
import { createMiddleware } from 'hono/factory';
import { HTTPException } from 'hono/http-exception';
import { secureHeaders } from 'hono/secure-headers';
import { z } from 'zod';
import { CONTRACT_HEADER, CONTRACT_VERSION_MIN, type Me } from '#contract';
import { AUDIT_LIST_MAX, listAudit, recorded } from './access/audit.ts';
import { countStranger, requireAnyKey, requireScope } from './access/auth.ts';
import { answerRefusal, refusal } from './refusals.ts';
import { agentRoutes } from './routes/agents.ts';
import { attemptRoutes } from './routes/attempts.ts';
import { blobRoutes } from './routes/blobs.ts';
import { buildRoutes } from './routes/builds.ts';
import { fileRoutes } from './routes/files.ts';
import { keyRoutes } from './routes/keys.ts';
import { logRoutes } from './routes/logs.ts';
import { workerRoutes } from './routes/workers.ts';
import type { Settings } from './settings.ts';
import { iso, isoOrNull } from './times.ts';
import { valid, wholeNumber } from './validate.ts';
import { endAttemptsOf } from './workers/registry.ts';

export function createApp(settings: Settings) {
  const app = new Hono<{ Bindings: Env }>();
  app.use(secureHeaders());
  app.use(strict);
  app.use(async (c, next) => {
    const version = c.req.header(CONTRACT_HEADER);
    if (version === undefined || Number(version) >= CONTRACT_VERSION_MIN) return next();
    return answerRefusal(c, refusal('contract_too_old', 'this agent is too old: run `npm install -g tartbeat@latest`'));
  });
  app.use('/api/*', recorded);

  app.get('/health', countStranger, (c) => c.json({ status: 'ok', time: iso(Date.now()) }));
  app.get('/api/me', requireAnyKey, (c) => {
    const { id, scope, name, workerId, pools, createdAt, expiresAt } = c.var.key;
    return c.json({
      scope,
      name,
      workerId,
      keyId: createdAt === null ? null : id,
      createdAt: isoOrNull(createdAt),
      expiresAt: isoOrNull(expiresAt),
      pools: pools && [...pools],
    } satisfies Me);
  });
  app.get('/api/audit', requireScope('admin'), valid('query', AuditQuery), async (c) => {
    const { cursor, limit } = c.req.valid('query');
    return c.json(await listAudit(c.env, cursor, limit));
  });
  // What attempts and readers of logs and files ask comes first: the submitters' routes demand a key of every path below.
  app.route('/api/builds', attemptRoutes);
  app.route('/api/builds', logRoutes);
  app.route('/api/builds', fileRoutes);
  app.route('/api/builds', buildRoutes(settings));
  app.route('/api/blobs', blobRoutes);
  app.route('/api/workers', agentRoutes(settings));
  app.route('/api/workers', workerRoutes(settings));
  app.route(
    '/api/keys',
    keyRoutes((env, workerId, now) => endAttemptsOf(env, workerId, 'its key was revoked', now)),
  );

  app.notFound((c) => answerRefusal(c, refusal('not_found', `there is no route ${c.req.method} ${c.req.path}`)));
  app.onError((error, c) => {
    if (error instanceof HTTPException && error.status < 500) {
      const code = error.status === 413 ? 'too_large' : 'invalid_request';
      return answerRefusal(c, refusal(code, error.message || 'the request cannot be read'));
    }
    console.error(JSON.stringify({ event: 'error', path: c.req.path, error: error.stack ?? String(error) }));
    return answerRefusal(c, refusal('internal', 'something went wrong here; the request may be repeated'));
  });
  return app;
}

/** Answers are data for programs: no browser may run, frame or keep them. A route that knows better says so itself. */
const strict = createMiddleware(async (c, next) => {
  await next();
  const defaults = {
    'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    'Cache-Control': 'no-store',
  };
  for (const [name, value] of Object.entries(defaults)) if (!c.res.headers.has(name)) c.header(name, value);
});

const AuditQuery = z.object({
  cursor: wholeNumber(1, Number.MAX_SAFE_INTEGER).optional(),
  limit: wholeNumber(1, AUDIT_LIST_MAX).default(50),
});
