/**
 * Serves the controller of `npm run chaos`. It has deadlines of seconds, agents that ask as often as deployed
 * ones, and no rate limits, because many Macs and the code that watches them share one address and one key
 * here. One more request reports the wrong counts of `project_load`, because no other process can read D1
 * while the controller runs.
 */
import { TIMEOUT_MINIMA } from '#contract';
import { createController } from '../../controller/index.ts';
import { SETTINGS } from '../../controller/settings.ts';
import { wrongLoads } from './wrong-loads.ts';

export { BlobUpload, BuildDeadline, BuildLog, StoreUpload } from '../../controller/index.ts';

const controller = createController({
  timeoutMinima: Object.fromEntries(Object.keys(TIMEOUT_MINIMA).map((name) => [name, 1])) as typeof TIMEOUT_MINIMA,
  workerTimeoutMs: 32_000,
  pollMs: 2_000,
  follow: SETTINGS.follow,
  stores: SETTINGS.stores,
});

const UNCOUNTED: RateLimit = { limit: async () => ({ success: true }) };

export default {
  ...controller,
  fetch: async (request, env, context) => {
    if (new URL(request.url).pathname === '/chaos/wrong-loads')
      return request.headers.get('X-API-Key') === env.ADMIN_KEY
        ? Response.json(await wrongLoads(env.DB))
        : new Response(null, { status: 401 });
    return controller.fetch!(request, { ...env, CALLERS: UNCOUNTED, STRANGERS: UNCOUNTED }, context);
  },
} satisfies ExportedHandler<Env>;
