/**
 * Serves the controller of the fault tests: deadlines of seconds, and agents that ask for work seldom enough
 * for a small machine.
 */
import { TIMEOUT_MINIMA } from '#contract';
import { createController } from '../../controller/index.ts';
import { SETTINGS } from '../../controller/settings.ts';

export { BlobUpload, BuildDeadline, BuildLog, StoreUpload } from '../../controller/index.ts';

export default createController({
  timeoutMinima: Object.fromEntries(Object.keys(TIMEOUT_MINIMA).map((name) => [name, 1])) as typeof TIMEOUT_MINIMA,
  workerTimeoutMs: 10_000,
  pollMs: 500,
  follow: SETTINGS.follow,
  stores: SETTINGS.stores,
});
