/**
 * The agent: takes up what a former run left, then claims builds while a slot is free, and says how it is. Every attempt runs by itself.
 *
 * Invariant: a slot is free only when its VM is gone. No loop here waits for a build, so a busy worker never looks offline. `drain` ends the
 * claims and waits for the attempts, `stop` ends them too; either way the promise resolves with nothing of ours running.
 */

import { dirname, join } from 'node:path';
import type { Assignment } from '#contract';
import type { Answer } from '../../client/answer.ts';
import { Connection } from '../../client/request.ts';
import { jittered, pause } from '../../client/retry.ts';
import { WorkerClient } from '../../client/worker-client.ts';
import { runAttempt } from '../attempt/attempt.ts';
import type { AttemptAction } from '../attempt/reconcile.ts';
import { type AgentConfig, loadConfig } from '../config.ts';
import type { AgentEvent, Emit } from '../events.ts';
import { AGENT_LIMITS, type AgentLimits } from '../limits.ts';
import { acquireAgentLock } from '../state/agent-lock.ts';
import type { AttemptJournal } from '../state/journal.ts';
import { StateFolder } from '../state/state-folder.ts';
import { createTart, type Tart } from '../tart/tart.ts';
import { AGENT_VERSION } from '../version.ts';
import { vmNameOf } from '../vm/name.ts';
import { SelfCheck } from './self-check.ts';
import { startUp } from './start-up.ts';
import { StatusBoard } from './status-file.ts';

const STATUS_INTERVAL_MS = 60_000;
const REFUSED_PAUSE_MS = 10_000;
const FAILED_PAUSE_MS = 5_000;

export interface AgentOptions {
  config: AgentConfig;
  configPath: string;
  onEvent: Emit;
  /** The first signal. */
  drain: AbortSignal;
  /** The second. */
  stop: AbortSignal;
  /** Leave after the first build. */
  once?: boolean;
  limits?: Partial<AgentLimits>;
}

/** Rejects with AgentLockedError or AgentIdentityError, before anything has been touched. */
export async function runAgent(options: AgentOptions): Promise<void> {
  const { config, configPath, onEvent, drain } = options;
  const folder = dirname(configPath);
  using _lock = acquireAgentLock(folder);
  const state = new StateFolder(join(folder, 'state'));
  await using board = new StatusBoard(state, {
    controllerUrl: config.controllerUrl,
    slots: config.maxConcurrentBuilds,
  });
  const emit: Emit = (event) => {
    board.see(event);
    onEvent(event);
  };
  const limits = { ...AGENT_LIMITS, ...options.limits };
  const { controllerUrl: url, apiKey: key } = config;
  const client = new WorkerClient(
    new Connection({
      url,
      key,
      requestMs: limits.requestMs,
      transferStallMs: limits.transferStallMs,
    }),
  );
  const tart = createTart(config);
  const started = await startUp({ config, client, tart, state, emit, signal: drain }).catch((error) => {
    if (drain.aborted) return null; // left before it had begun; what a former run left stays for the next
    throw error;
  });
  if (!started) return;
  const { workerId, instanceId, attempts } = started;
  emit({ type: 'started', workerId, instanceId, slots: config.maxConcurrentBuilds, controllerUrl: url });

  const agent = new Agent({ ...options, onEvent: emit }, { client, tart, state, board, limits, workerId, instanceId });
  for (const { journal, action } of attempts) agent.start(journal, action, { resumed: true });
  await agent.run();
  emit({ type: 'stopped' });
}

interface Parts {
  client: WorkerClient;
  tart: Tart;
  state: StateFolder;
  board: StatusBoard;
  limits: AgentLimits;
  workerId: string;
  instanceId: string;
}

class Agent {
  readonly #options: AgentOptions;
  readonly #parts: Parts;
  readonly #leave = new AbortController();
  /** Until nothing of it is left to do; a slot is taken until its VM is gone. */
  readonly #running = new Map<string, { vmName: string; vmGone: boolean; done: Promise<void> }>();
  #wake = new AbortController();
  readonly #selfCheck: SelfCheck;
  #reachable: boolean | null = null;
  #idle = '';

  constructor(options: AgentOptions, parts: Parts) {
    this.#options = options;
    this.#parts = parts;
    this.#selfCheck = new SelfCheck(options.configPath, options.onEvent);
  }

  async run(): Promise<void> {
    const { drain, stop, onEvent } = this.#options;
    const over = new AbortController();
    const status = this.#statusLoop(over.signal);
    const onStop = () => {
      onEvent({ type: 'stopping' });
      setTimeout(() => this.#leave.abort(), this.#parts.limits.stopMs).unref();
    };
    if (stop.aborted) onStop();
    else stop.addEventListener('abort', onStop, { once: true });
    await this.#claimLoop(AbortSignal.any([drain, stop]));
    onEvent({ type: 'draining', waitingFor: [...this.#running.keys()] });
    while (this.#running.size > 0) await Promise.all([...this.#running.values()].map(({ done }) => done));
    over.abort();
    await status;
    await this.#selfCheck.settled();
    await this.#sendStatus(AbortSignal.timeout(2_000)).catch(() => {});
  }

  start(journal: AttemptJournal, action: AttemptAction, { resumed }: { resumed: boolean }): void {
    const { config, stop } = this.#options;
    const { client, tart, limits, board } = this.#parts;
    const { assignment, vmName, vmGone } = journal.state;
    const { buildId, attempt } = assignment;
    const key = `${buildId}-${attempt}`;
    const emit = (event: AgentEvent) => {
      if (event.type === 'slot_free') this.#freed(key);
      this.#options.onEvent(event);
    };
    const context = { config, workerClient: client, tart, limits, journal, resumed, stop, leave: this.#leave.signal };
    const done = runAttempt({ ...context, emit: (event) => emit({ ...event, buildId, attempt }) }, action)
      .catch((error) =>
        emit({ type: 'warning', buildId, attempt, message: `the agent failed: ${error.stack ?? error}` }),
      )
      .finally(() => {
        this.#running.delete(key);
        board.forget({ buildId, attempt });
        this.#changed();
      });
    this.#running.set(key, { vmName, vmGone, done });
    this.#changed();
  }

  #freed(key: string): void {
    const running = this.#running.get(key);
    if (running) running.vmGone = true;
    this.#changed();
  }

  get #vms(): string[] {
    return [...this.#running.values()].filter(({ vmGone }) => !vmGone).map(({ vmName }) => vmName);
  }

  /** Wakes both loops. */
  #changed(): void {
    this.#wake.abort();
    this.#wake = new AbortController();
  }

  async #claimLoop(signal: AbortSignal): Promise<void> {
    const { config, once } = this.#options;
    let claimed = false;
    while (!signal.aborted && !(once && claimed)) {
      const wake = this.#wake.signal;
      const free = this.#vms.length < config.maxConcurrentBuilds;
      const next = free
        ? await this.#claim(signal).catch(this.#claimFailed)
        : { claimed: false, waitMs: STATUS_INTERVAL_MS };
      claimed ||= next.claimed;
      if (!next.claimed) await pause(jittered(next.waitMs), AbortSignal.any([signal, wake])).catch(() => {});
    }
  }

  /** Our own signal, or a disk that cannot be written: neither ends the loop by itself. */
  #claimFailed = (error: Error): { claimed: boolean; waitMs: number } => {
    const { drain, stop, onEvent } = this.#options;
    if (!drain.aborted && !stop.aborted) onEvent({ type: 'warning', message: `claiming failed: ${error.message}` });
    return { claimed: false, waitMs: REFUSED_PAUSE_MS };
  };

  async #claim(signal: AbortSignal): Promise<{ claimed: boolean; waitMs: number }> {
    const { client, state, workerId, instanceId } = this.#parts;
    const claimId = await state.pendingClaimId();
    const answer = this.#heard(await client.claim(workerId, { instanceId, claimId }, signal));
    if (!answer.ok) {
      if (answer.kind === 'unreachable')
        return { claimed: false, waitMs: Math.max(FAILED_PAUSE_MS, answer.retryAfterMs ?? 0) };
      this.#sayIdle('refused', `${answer.code}: ${answer.message}`);
      return { claimed: false, waitMs: REFUSED_PAUSE_MS };
    }
    const { assignment, nextMs, reason } = answer.value;
    if (!assignment) {
      this.#sayIdle('idle', reason);
      return { claimed: false, waitMs: nextMs };
    }
    this.#idle = '';
    return { claimed: await this.#accept(assignment), waitMs: nextMs };
  }

  async #accept(assignment: Assignment): Promise<boolean> {
    const { state, workerId } = this.#parts;
    const { buildId, attempt } = assignment;
    // An answer that we have had already: the claim was journalled, the claimId not yet forgotten.
    if (this.#running.has(`${buildId}-${attempt}`)) {
      await state.forgetClaim();
      return false;
    }
    try {
      const journal = await state.createAttempt(assignment, vmNameOf({ workerId, buildId, attempt }));
      await state.forgetClaim();
      this.start(journal, 'begin', { resumed: false });
      return true;
    } catch (error) {
      this.#options.onEvent({
        type: 'warning',
        message: `the assignment cannot be taken: ${(error as Error).message}`,
      });
      return false;
    }
  }

  /** At each change, and at least as often as the controller asks. */
  async #statusLoop(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const wake = this.#wake.signal;
      await this.#takeRenewedKey();
      const waitMs = await this.#sendStatus(signal).catch(() => FAILED_PAUSE_MS);
      await pause(jittered(waitMs), AbortSignal.any([signal, wake])).catch(() => {});
    }
  }

  /** `expo-worker rotate-key` writes it; the old one works on long enough for us to look. A config being edited is left alone. */
  async #takeRenewedKey(): Promise<void> {
    const config = await loadConfig(this.#options.configPath).catch(() => null);
    if (config?.controllerUrl === this.#options.config.controllerUrl)
      this.#parts.client.connection.useKey(config.apiKey);
  }

  async #sendStatus(signal: AbortSignal): Promise<number> {
    const { client, workerId, instanceId } = this.#parts;
    const vms = this.#vms;
    const slots = this.#options.config.maxConcurrentBuilds;
    const status = { instanceId, slots, slotsInUse: vms.length, vms, agentVersion: AGENT_VERSION };
    const answer = this.#heard(await client.status(workerId, status, signal));
    if (answer.ok && answer.value.state === 'quarantined') this.#selfCheck.quarantined(signal);
    if (answer.ok) return Math.min(Math.max(answer.value.nextMs, 1_000), STATUS_INTERVAL_MS);
    return answer.kind === 'unreachable' ? FAILED_PAUSE_MS : REFUSED_PAUSE_MS;
  }

  #heard<T>(answer: Answer<T>): Answer<T> {
    const reachable = answer.ok || answer.kind === 'refused';
    if (reachable !== this.#reachable && !(reachable && this.#reachable === null))
      this.#options.onEvent({ type: 'controller', reachable, message: answer.ok ? '' : answer.message });
    this.#reachable = reachable;
    return answer;
  }

  #sayIdle(state: string, reason: string | null): void {
    const said = `${state} ${reason}`;
    if (said === this.#idle) return;
    this.#idle = said;
    this.#options.onEvent({ type: 'idle', state, reason });
  }
}
