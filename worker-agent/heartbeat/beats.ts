/**
 * The agent's own beats for one attempt, on a loop of their own: no slow tart and no dead SSH connection can make this host look dead.
 *
 * Invariant: while the loop runs, a beat is on its way or is due within max(nextMs, the request's time limit); only the controller's own
 * 404, 409, 410 or `action: stop` ends the attempt.
 */
import type { Heartbeat, Stage } from '#contract';
import type { AttemptClient } from '../../client/attempt-client.ts';
import { jittered, pause } from '../../client/retry.ts';
import type { Progress } from '../../log-reader/progress/parser.ts';
import type { EmitOfAttempt } from '../events.ts';

/** What a beat says of the attempt, asked anew for each. */
export interface BeatFacts {
  stage: Stage;
  /** Left out while the log cannot be read. */
  outputAgeMs?: number | undefined;
  /** Parsed from the log. */
  progress?: Progress | undefined;
}

export interface BeatsOptions {
  /** With the attempt's run token. */
  client: AttemptClient;
  buildId: string;
  workerId: string;
  attempt: number;
  nextMs: number;
  /** For a refused or failed beat. */
  repeatMs: number;
  requestMs: number;
  facts: () => BeatFacts;
  emit: EmitOfAttempt;
  onAccepted: () => void;
  /** The controller has ended the attempt. Called once; the loop has ended. */
  onStop: (message: string) => void;
}

const ENDINGS = new Set([404, 409, 410]);

export class Beats implements AsyncDisposable {
  /** The last VM beat that the controller knows of, and its own clock when it said so. */
  vmBeat: { at: string; ageMs: number } | null = null;
  readonly #options: BeatsOptions;
  readonly #ending = new AbortController();
  readonly #loop: Promise<void>;
  #nextMs: number;
  #wake = new AbortController();
  #vmBeatSeen = Promise.withResolvers<void>();

  constructor(options: BeatsOptions) {
    this.#options = options;
    this.#nextMs = options.nextMs;
    this.#loop = this.#run();
  }

  /** Beats now: the stage has changed, or an answer is awaited. */
  poke(): void {
    this.#wake.abort();
  }

  /** Resolves once an answer has named a beat of the VM. Rejects with the signal's reason alone. */
  async firstVmBeat(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const aborted = Promise.withResolvers<never>();
    const onAbort = () => aborted.reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await Promise.race([this.#vmBeatSeen.promise, aborted.promise]);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      const startedAt = performance.now();
      this.#wake = new AbortController();
      const accepted = await this.#beat();
      if (accepted === 'ended') return;
      // From start to start, so that a slow answer does not stretch the interval; a failed beat is repeated sooner.
      const intervalMs = accepted ? this.#nextMs : Math.min(this.#nextMs, this.#options.repeatMs);
      const restMs = Math.max(0, jittered(intervalMs) - (performance.now() - startedAt));
      await pause(accepted ? restMs : Math.max(restMs, 100), AbortSignal.any([signal, this.#wake.signal])).catch(
        () => {},
      );
    }
  }

  async #beat(): Promise<boolean | 'ended'> {
    const { client, buildId, workerId, attempt, requestMs, facts, emit, onAccepted, onStop } = this.#options;
    const { stage, outputAgeMs, progress } = facts();
    const body: Heartbeat = { source: 'agent', attempt, stage, outputAgeMs };
    if (progress) {
      const { percent, origin, phase, etaMs } = progress;
      Object.assign(body, { progress: percent, origin, phase, etaMs: etaMs ?? undefined });
    }
    const startedAt = performance.now();
    const answer = await client
      .heartbeat(buildId, workerId, body, { signal: this.#ending.signal, timeoutMs: requestMs })
      .catch(() => null);
    if (answer === null) return false; // our own end
    const event = {
      type: 'beat',
      stage,
      durationMs: Math.round(performance.now() - startedAt),
      percent: progress?.percent,
      phase: progress?.phase,
    } as const;
    if (!answer.ok) {
      emit({ ...event, accepted: false, vmBeatAt: this.vmBeat?.at ?? null, message: answer.message });
      if (answer.kind === 'unreachable') return false;
      if (!ENDINGS.has(answer.status) && answer.action !== 'stop') return false;
      onStop(answer.message);
      return 'ended';
    }
    const { action, nextMs, vmBeatAt, timestamp } = answer.value;
    emit({ ...event, accepted: true, vmBeatAt });
    if (action === 'stop') {
      onStop('the controller has ended the attempt');
      return 'ended';
    }
    this.#nextMs = nextMs;
    if (vmBeatAt !== null) {
      this.vmBeat = { at: vmBeatAt, ageMs: Math.max(0, Date.parse(timestamp) - Date.parse(vmBeatAt)) };
      this.#vmBeatSeen.resolve();
    }
    onAccepted();
    return true;
  }
}
