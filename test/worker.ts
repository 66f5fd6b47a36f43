/**
 * Serves the controller of the tests: the deployed one, with limits so small that deadlines pass during a
 * test, and a D1 that may fail and that has the platform's limits.
 */
import { TIMEOUT_MINIMA } from '#contract';
import {
  createController,
  BuildDeadline as RealBuildDeadline,
  StoreUpload as RealStoreUpload,
} from '../controller/index.ts';
import { SETTINGS } from '../controller/settings.ts';
import { withFaultyDatabase } from './controller/factories/faulty-database.ts';
import { begin, requests, uploads, withPlatformLimits } from './controller/factories/platform-limits.ts';
import { stepsOfTests } from './controller/factories/steps-of-tests.ts';
import { NO_STORES } from './controller/factories/store-keys.ts';

export { BlobUpload, BuildLog } from '../controller/index.ts';

export class BuildDeadline extends RealBuildDeadline {
  constructor(state: DurableObjectState, env: Env) {
    super(state, withPlatformLimits(withFaultyDatabase(env), begin('BuildDeadline'), Number.POSITIVE_INFINITY));
  }
}

export class StoreUpload extends RealStoreUpload {
  /** The alarms under way, including those that the platform started. */
  readonly #alarms = new Set<Promise<void>>();

  constructor(state: DurableObjectState, env: Env) {
    const usage = begin('StoreUpload');
    uploads.push(usage);
    super(state, withPlatformLimits(withFaultyDatabase(env), usage, Number.POSITIVE_INFINITY));
    const { use, addresses } = stepsOfTests;
    this.addresses = addresses ?? NO_STORES;
    if (use) this.stores = { 'app-store-connect': use, 'google-play': use };
  }

  override alarm(): Promise<void> {
    const alarm = super.alarm().finally(() => this.#alarms.delete(alarm));
    this.#alarms.add(alarm);
    return alarm;
  }

  /**
   * A test that fires alarms waits for this. An alarm returns at once while another one runs. Firing alarm
   * upon alarm would keep the object from the answer that the running alarm waits for.
   */
  async untilIdle(): Promise<void> {
    while (this.#alarms.size > 0) await Promise.allSettled(this.#alarms);
  }
}

const controller = createController({
  timeoutMinima: Object.fromEntries(Object.keys(TIMEOUT_MINIMA).map((name) => [name, 1])) as typeof TIMEOUT_MINIMA,
  workerTimeoutMs: 60_000,
  pollMs: 100,
  follow: SETTINGS.follow,
  stores: NO_STORES,
});

/** Tests ask more often than people do; rate-limits.test.ts has the deployed counters. */
const UNCOUNTED: RateLimit = { limit: async () => ({ success: true }) };

export default {
  ...controller,
  fetch: (request, env, context) => {
    const usage = begin(`${request.method} ${new URL(request.url).pathname}`);
    requests.push(usage);
    const counted = withPlatformLimits(withFaultyDatabase(env), usage);
    return controller.fetch!(request, { ...counted, CALLERS: UNCOUNTED, STRANGERS: UNCOUNTED }, context);
  },
} satisfies ExportedHandler<Env>;
