/**
 * Tells the controller the status of this worker: at each change of a slot or of its readiness, and as often
 * as the controller asks.
 *
 * Invariant: the loop waits for no build, so a busy worker never looks offline.
 */
import { jittered, pause } from '../../client/retry.ts';
import type { WorkerClient } from '../../client/worker-client.ts';
import { type AgentConfig, loadConfig } from '../config.ts';
import type { Fetching } from '../images/fetch.ts';
import { type Images, offerOf } from '../images/images.ts';
import { FAILED_PAUSE_MS, REFUSED_PAUSE_MS, STATUS_INTERVAL_MS } from '../time-limits.ts';
import { AGENT_VERSION } from '../version.ts';
import type { Reachability } from './reachability.ts';
import type { Readiness } from './readiness.ts';
import type { SelfCheck } from './self-check.ts';
import type { Slots } from './slots.ts';

const STATUS_MIN_MS = 1_000;
/** The last status must not hold up an agent that leaves. */
const LAST_STATUS_MS = 2_000;

export interface ReportingOptions {
  config: AgentConfig;
  configPath: string;
  client: WorkerClient;
  slots: Slots;
  readiness: Readiness;
  selfCheck: SelfCheck;
  images: Images;
  fetching: Fetching;
  reachability: Reachability;
  workerId: string;
  instanceId: string;
}

export class Reporting {
  readonly #options: ReportingOptions;

  constructor(options: ReportingOptions) {
    this.#options = options;
  }

  /** Resolves when `signal` has fired. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const { slots, readiness, images, fetching } = this.#options;
      const changed = AbortSignal.any([slots.changed, readiness.changed, images.changed, fetching.changed]);
      await this.#takeRenewedKey();
      const waitMs = await this.#send(signal).catch(() => FAILED_PAUSE_MS);
      await pause(jittered(waitMs), AbortSignal.any([signal, changed])).catch(() => {});
    }
  }

  /** The agent leaves. Never rejects. */
  async sendLast(): Promise<void> {
    await this.#send(AbortSignal.timeout(LAST_STATUS_MS)).catch(() => {});
  }

  /**
   * `expo-worker rotate-key` writes a new key into the config, and the old one works for long enough that we
   * find it here. If the config cannot be read, perhaps somebody edits it, so the key stays.
   */
  async #takeRenewedKey(): Promise<void> {
    const { configPath, config, client } = this.#options;
    const found = await loadConfig(configPath).catch(() => null);
    if (found?.controllerUrl === config.controllerUrl) client.connection.useKey(found.apiKey);
  }

  /** Resolves with how long to wait before the next status. */
  async #send(signal: AbortSignal): Promise<number> {
    const { client, config, images, fetching, slots, readiness, selfCheck, reachability, workerId, instanceId } =
      this.#options;
    const { vms } = slots;
    const status = {
      instanceId,
      slots: config.maxConcurrentBuilds,
      ...offerOf(images.offers()),
      imageFetches: fetching.fetches,
      slotsInUse: slots.inUse,
      vms,
      agentVersion: AGENT_VERSION,
      notReady: slots.isOneFree ? readiness.obstacle : null,
    };
    const answer = reachability.heard(await client.status(workerId, status, signal));
    if (!answer.ok) return answer.kind === 'unreachable' ? FAILED_PAUSE_MS : REFUSED_PAUSE_MS;
    fetching.want(answer.value.images);
    if (answer.value.state === 'quarantined') selfCheck.quarantined(signal);
    return Math.min(Math.max(answer.value.nextMs, STATUS_MIN_MS), STATUS_INTERVAL_MS);
  }
}
