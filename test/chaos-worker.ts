/**
 * Serves the controller of `npm run chaos`. It has deadlines of seconds, agents that ask as often as deployed
 * ones, and no rate limits, because many Macs and the code that watches them share one address and one key
 * here.
 */
import { TIMEOUT_MINIMA } from '#contract';
import { createController } from '../controller/index.ts';
import { SETTINGS } from '../controller/settings.ts';

export { BlobUpload, BuildDeadline, BuildLog } from '../controller/index.ts';

const controller = createController({
  timeoutMinima: Object.fromEntries(Object.keys(TIMEOUT_MINIMA).map((name) => [name, 1])) as typeof TIMEOUT_MINIMA,
  workerTimeoutMs: 32_000,
  pollMs: 2_000,
  follow: SETTINGS.follow,
});

const UNCOUNTED: RateLimit = { limit: async () => ({ success: true }) };

export default {
  ...controller,
  fetch: (request, env, context) =>
    controller.fetch!(request, { ...env, CALLERS: UNCOUNTED, STRANGERS: UNCOUNTED }, context),
} satisfies ExportedHandler<Env>;
