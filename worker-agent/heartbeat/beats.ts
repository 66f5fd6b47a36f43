/**
 * Sends the agent's own beats for one attempt, on a loop of their own. A slow Tart or a dead SSH connection
 * therefore cannot make this host look dead.
 *
 * Invariant: while the loop runs, a beat is on its way or is due within max(nextMs, the request's time
 * limit). Only the controller ends the attempt here, with a 404, 409 or 410, or with `action: stop`.
 */
import type { Heartbeat, HeartbeatAnswer, Stage } from '#contract';
import type { Refused, Unreachable } from '../../client/answer.ts';
import type { AttemptClient } from '../../client/attempt-client.ts';
import { jittered, pause } from '../../client/retry.ts';
import type { Progress } from '../../log-reader/progress/parser.ts';
import type { AttemptEvent, EmitOfAttempt } from '../events.ts';

/** The facts about the log in a beat. They are read anew for each beat. */
export interface LogFacts {
  /**
   * Since the log last grew, without the time in which the VM worked; left out while the log cannot be read.
   */
  outputAgeMs?: number | undefined;
  /** Parsed from the log. */
  progress?: Progress | undefined;
}

export interface BeatsOptions {
  /** Sends the attempt's run token. */
  client: AttemptClient;
  buildId: string;
  workerId: string;
  attempt: number;
  stage: Stage;
  nextMs: number;
  /** A refused or failed beat is repeated after this time. */
  repeatMs: number;
  requestMs: number;
  emit: EmitOfAttempt;
  onAccepted: () => void;
  /** The platform of the controller says that nobody can reach the controller now. */
  onPlatformAway?: (message: string) => void;
  /** The controller has ended the attempt. Called once, when the loop has ended. */
  onStop: (message: string) => void;
}

type BeatEvent = Omit<AttemptEvent & { type: 'beat' }, 'accepted' | 'vmBeatAt' | 'message'>;

/** These statuses end the attempt. */
const ENDINGS = new Set([404, 409, 410]);
/**
 * The minimum between two tries, because a controller that refuses at once must not be asked in a tight loop.
 */
const REPEAT_MIN_MS = 100;

export class Beats implements AsyncDisposable {
  /** The last VM beat that the controller has accepted, and its age by the controller's own clock. */
  vmBeat: { at: string; ageMs: number } | null = null;
  readonly #options: BeatsOptions;
  readonly #ending = new AbortController();
  #loop: Promise<void> | null = null;
  #stage: Stage;
  #logFacts: () => LogFacts = () => ({});
  #nextMs: number;
  #wake = new AbortController();
  #vmBeatSeen = Promise.withResolvers<void>();

  constructor(options: BeatsOptions) {
    this.#options = options;
    this.#stage = options.stage;
    this.#nextMs = options.nextMs;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  /** Sends a beat now, because somebody waits for an answer. */
  poke(): void {
    this.#wake.abort();
  }

  /** Sends a beat with this stage at once. */
  enter(stage: Stage): void {
    this.#stage = stage;
    this.poke();
  }

  /** The next beats contain these facts about the log. */
  describeLog(facts: () => LogFacts): void {
    this.#logFacts = facts;
  }

  /** Resolves once an answer has named a VM beat. Rejects only with the reason of `signal`. */
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
      // The interval counts from start to start, so that a slow answer does not stretch it.
      const intervalMs = accepted ? this.#nextMs : Math.min(this.#nextMs, this.#options.repeatMs);
      const restMs = Math.max(0, jittered(intervalMs) - (performance.now() - startedAt));
      await pause(
        accepted ? restMs : Math.max(restMs, REPEAT_MIN_MS),
        AbortSignal.any([signal, this.#wake.signal]),
      ).catch(() => {});
    }
  }

  async #beat(): Promise<boolean | 'ended'> {
    const { client, buildId, workerId, requestMs } = this.#options;
    const stage = this.#stage;
    const facts = this.#logFacts();
    const body = this.#body(stage, facts);
    const startedAt = performance.now();
    const answer = await client
      .heartbeat(buildId, workerId, body, { signal: this.#ending.signal, timeoutMs: requestMs })
      .catch(() => null);
    if (answer === null) return false; // we are ending the loop ourselves
    const { percent, phase } = facts.progress ?? {};
    const event = {
      type: 'beat',
      stage,
      durationMs: Math.round(performance.now() - startedAt),
      percent,
      phase,
    } as const;
    return answer.ok ? this.#accepted(answer.value, event) : this.#notAccepted(answer, event);
  }

  #accepted({ action, nextMs, vmBeatAt, timestamp }: HeartbeatAnswer, event: BeatEvent): boolean | 'ended' {
    const { emit, onAccepted, onStop } = this.#options;
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

  #notAccepted(answer: Refused | Unreachable, event: BeatEvent): false | 'ended' {
    const { emit, onStop, onPlatformAway } = this.#options;
    emit({ ...event, accepted: false, vmBeatAt: this.vmBeat?.at ?? null, message: answer.message });
    if (answer.kind === 'unreachable') {
      if (answer.outage) onPlatformAway?.(answer.message);
      return false;
    }
    if (!ENDINGS.has(answer.status) && answer.action !== 'stop') return false;
    onStop(answer.message);
    return 'ended';
  }

  #body(stage: Stage, { outputAgeMs, progress }: LogFacts): Heartbeat {
    const { attempt } = this.#options;
    // The silence of the log counts only while the command runs.
    const body: Heartbeat = {
      source: 'agent',
      attempt,
      stage,
      outputAgeMs: stage === 'building' ? outputAgeMs : undefined,
    };
    if (!progress) return body;
    const { percent, origin, phase, etaMs } = progress;
    return { ...body, progress: percent, origin, phase, etaMs: etaMs ?? undefined };
  }
}
