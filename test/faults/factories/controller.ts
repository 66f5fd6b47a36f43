/**
 * Serves the controller of the fault tests: deadlines of seconds, and agents that ask for work seldom enough
 * for a small machine. A test that starts stand-ins of the stores names their addresses in STAND_INS.
 */
import { env } from 'cloudflare:workers';
import { TIMEOUT_MINIMA } from '#contract';
import { createController, StoreUpload as RealStoreUpload } from '../../../controller/index.ts';
import { SETTINGS } from '../../../controller/settings.ts';
import type { StoreAddresses } from '../../../controller/stores/step.ts';

export { BlobUpload, BuildDeadline, BuildLog } from '../../../controller/index.ts';

const { STAND_INS } = env as { STAND_INS?: string };
const stores = STAND_INS === undefined ? SETTINGS.stores : (JSON.parse(STAND_INS) as StoreAddresses);

export class StoreUpload extends RealStoreUpload {
  protected override addresses = stores;
}

export default createController({
  timeoutMinima: Object.fromEntries(Object.keys(TIMEOUT_MINIMA).map((name) => [name, 1])) as typeof TIMEOUT_MINIMA,
  workerTimeoutMs: 10_000,
  pollMs: 500,
  follow: SETTINGS.follow,
  stores,
});
