/**
 * Puts the app together: what all routes share, the routes of each file, and the handling of errors.
 * routes/route-table.ts lists the routes. Each route bounds its own body.
 */
import { Hono } from 'hono';
import { createMiddleware } from 'hono/factory';
import { HTTPException } from 'hono/http-exception';
import { secureHeaders } from 'hono/secure-headers';
import { CONTRACT_HEADER, CONTRACT_VERSION_MIN } from '#contract';
import { recorded } from './access/audit.ts';
import { answerRefusal, refusal } from './refusals.ts';
import { attemptRoutes } from './routes/attempts.ts';
import { blobRoutes } from './routes/blobs.ts';
import { buildNumberRoutes } from './routes/build-numbers.ts';
import { buildRoutes } from './routes/builds.ts';
import { agentRoutes } from './routes/farm/agents.ts';
import { poolRoutes } from './routes/farm/pools.ts';
import { workerRoutes } from './routes/farm/workers.ts';
import { fileRoutes } from './routes/files.ts';
import { installPageRoutes, unlisted, withoutToken } from './routes/install-pages.ts';
import { keyRoutes } from './routes/keys.ts';
import { linkRoutes } from './routes/links.ts';
import { logRoutes } from './routes/logs.ts';
import { projectRoutes } from './routes/projects.ts';
import { behindTable } from './routes/register.ts';
import { secretRoutes, storeKeyRoutes } from './routes/secrets.ts';
import { submissionRoutes } from './routes/submissions.ts';
import type { Settings } from './settings.ts';
import { iso } from './times.ts';

export function createApp(settings: Settings) {
  const app = new Hono<{ Bindings: Env }>();
  app.use(secureHeaders());
  app.use(strict);
  app.use(refuseOldAgents);
  app.use('/api/*', recorded);
  app.use('/i/*', unlisted);

  const on = behindTable(app);
  on('GET /health')((c) => c.json({ status: 'ok', time: iso(Date.now()) }));
  keyRoutes(on);
  buildRoutes(on, settings);
  attemptRoutes(on, settings);
  logRoutes(on, settings);
  fileRoutes(on);
  secretRoutes(on);
  storeKeyRoutes(on, settings);
  submissionRoutes(on);
  linkRoutes(on);
  installPageRoutes(on);
  blobRoutes(on);
  projectRoutes(on);
  poolRoutes(on);
  buildNumberRoutes(on);
  workerRoutes(on, settings);
  agentRoutes(on, settings);

  app.notFound((c) =>
    answerRefusal(c, refusal('not_found', `there is no route ${c.req.method} ${withoutToken(c.req.path)}`)),
  );
  app.onError((error, c) => {
    if (error instanceof HTTPException && error.status < 500) {
      const code = error.status === 413 ? 'too_large' : 'invalid_request';
      return answerRefusal(c, refusal(code, error.message || 'the request cannot be read'));
    }
    console.error(
      JSON.stringify({ event: 'error', path: withoutToken(c.req.path), error: error.stack ?? String(error) }),
    );
    return answerRefusal(c, refusal('internal', 'the controller failed; you may repeat the request'));
  });
  return app;
}

/** Answers are data for programs, so no browser may run, frame or keep them. A route may set other values. */
const strict = createMiddleware(async (c, next) => {
  await next();
  const defaults = {
    'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    'Cache-Control': 'no-store',
  };
  for (const [name, value] of Object.entries(defaults)) if (!c.res.headers.has(name)) c.header(name, value);
});

/** No public registry has our package, and a stranger could publish one of its name there. */
const agentTooOld = refusal(
  'contract_too_old',
  "this agent is too old for its controller. Run `npm ci && npm pack` in the checkout of the controller's release, " +
    'copy the file that it makes to the Mac, and install it there: `npm install -g ./tartbeat-VERSION.tgz`',
);

const refuseOldAgents = createMiddleware(async (c, next) => {
  const version = c.req.header(CONTRACT_HEADER);
  if (version === undefined || Number(version) >= CONTRACT_VERSION_MIN) return next();
  return answerRefusal(c, agentTooOld);
});
