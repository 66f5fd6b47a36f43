/**
 * What the steps of a running attempt share: its clients, its clocks, its beats, its one ending; and the two ways of doing a step.
 *
 * Invariant: `signal` aborts once, with the AttemptOver that ends the attempt. Disposing lets go of the VM and does not touch it.
 */
import type { Inputs, Stage } from '#contract';
import type { Answer } from '../../client/answer.ts';
import { AttemptClient } from '../../client/attempt-client.ts';
import { untilAnswered } from '../../client/retry.ts';
import type { WorkerClient } from '../../client/worker-client.ts';
import type { LogFollower } from '../build-log/follower.ts';
import type { LogProgress } from '../build-log/progress.ts';
import { LogShipper } from '../build-log/shipper.ts';
import type { AgentConfig } from '../config.ts';
import { AttemptOver, failed } from '../ending.ts';
import type { EmitOfAttempt } from '../events.ts';
import type { AttemptKey } from '../guest/commands.ts';
import { Beats } from '../heartbeat/beats.ts';
import { Contact } from '../heartbeat/contact.ts';
import { type AgentLimits, beatRequestMs } from '../limits.ts';
import { SleepWatch } from '../mac/sleep-watch.ts';
import type { AttemptJournal, Phase } from '../state/journal.ts';
import type { Tart } from '../tart/tart.ts';
import type { Vm } from '../vm/vm.ts';

export interface AttemptContext {
  config: AgentConfig;
  tart: Tart;
  /** With the worker's key. */
  client: WorkerClient;
  limits: AgentLimits;
  journal: AttemptJournal;
  emit: EmitOfAttempt;
  /** A former run of the agent may have left a VM of this name. */
  resumed: boolean;
  /** The second signal: end it now. */
  stop: AbortSignal;
  /** Some time after that: what is not done by now stays on disk. */
  leave: AbortSignal;
}

/** The parts of a running attempt that its steps share. */
export class AttemptRun implements AsyncDisposable {
  readonly context: AttemptContext;
  readonly key: AttemptKey;
  /** With the attempt's run token. */
  readonly client: AttemptClient;
  readonly contact: Contact;
  readonly sleepWatch = new SleepWatch();
  readonly shipper: LogShipper;
  stage: Stage;
  vm: Vm | null = null;
  follower: LogFollower | null = null;
  /** What the build was given, once asked for; never on this host's disk. */
  inputs: Inputs | null = null;
  beats: Beats | null = null;
  /** Bytes of the log file, while no follower is writing it. */
  logBytes = 0;
  /** From the first byte of the log that this run of the agent has read. */
  progress: LogProgress | null = null;
  readonly #shippingOver = new AbortController();
  #shipping: Promise<void> | null = null;
  readonly #over = new AbortController();

  constructor(context: AttemptContext) {
    const { assignment, phase, contactAtMs } = context.journal.state;
    this.context = context;
    this.key = { buildId: assignment.buildId, attempt: assignment.attempt };
    this.client = new AttemptClient(context.client.connection.withKey(assignment.tokens.run));
    this.contact = new Contact(contactAtMs);
    this.stage = STAGE_OF[phase];
    const { emit, journal } = context;
    const lengthBytes = () => this.follower?.lengthBytes ?? this.logBytes;
    this.shipper = new LogShipper({ ...this.key, client: this.client, path: journal.logPath, lengthBytes, emit });
  }

  /** Aborts with an AttemptOver. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** The first ending stays. */
  end(over: AttemptOver): void {
    this.#over.abort(over);
  }

  enter(stage: Stage): void {
    this.stage = stage;
    this.context.emit({ type: 'stage', stage });
    this.beats?.poke();
  }

  startBeats(): void {
    const { limits, journal, emit } = this.context;
    const { timeouts, nextMs, workerId } = journal.state.assignment;
    this.beats ??= new Beats({
      ...this.key,
      client: this.client,
      workerId,
      nextMs,
      repeatMs: limits.beatRepeatMs,
      requestMs: beatRequestMs(timeouts, limits),
      facts: () => ({
        stage: this.stage,
        outputAgeMs: this.stage === 'building' ? this.follower?.outputAgeMs() : undefined,
        progress: this.progress?.snapshot(),
      }),
      emit,
      onAccepted: () => {
        this.contact.made();
        // Coarse on purpose: after a crash the attempt merely counts as lost a little earlier.
        if (Date.now() - journal.state.contactAtMs > (timeouts.workerTimeoutMs ?? 120_000) / 8)
          void journal
            .update({ contactAtMs: Date.now() })
            .catch((error) => emit({ type: 'warning', message: String(error) }));
      },
      onStop: (message) => this.end(new AttemptOver({ kind: 'stopped', message })),
    });
  }

  /** Ships the log from now on, in the background. */
  startShipping(): void {
    const { leave, emit } = this.context;
    const signal = AbortSignal.any([leave, this.#shippingOver.signal]);
    this.#shipping ??= this.shipper.run(signal).then(
      ({ complete, message }) => {
        if (!complete) emit({ type: 'warning', message: `the log is not complete at the controller: ${message}` });
      },
      (error) => {
        if (!signal.aborted) emit({ type: 'warning', message: `the log is not shipped any more: ${error}` });
      },
    );
  }

  /** Resolves when all is shipped, when nothing more is taken, or after the limit. */
  async finishShipping(limitMs: number): Promise<void> {
    this.startShipping();
    const timer = setTimeout(() => this.#shippingOver.abort(), limitMs);
    await this.#shipping;
    clearTimeout(timer);
  }

  async stopBeats(): Promise<void> {
    await this.beats?.[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopBeats();
    this.sleepWatch[Symbol.dispose]();
    this.vm?.release();
    await this.follower?.[Symbol.asyncDispose]();
  }
}

const STAGE_OF: Record<Phase, Stage> = {
  claimed: 'booting',
  booted: 'checking',
  checked: 'checking',
  monitor_started: 'checking',
  command_started: 'building',
  command_ended: 'collecting',
  collected: 'collecting',
  result_ready: 'collecting',
};

/** Asks until answered; a refusal ends the attempt, as an end if it says that there is one already. */
export async function ask<T>(run: AttemptRun, name: string, call: () => Promise<Answer<T>>): Promise<T> {
  const answer = await untilAnswered(call, { signal: run.signal, giveUpAfterMs: run.context.limits.outageMs });
  if (answer.ok) return answer.value;
  const ended = answer.kind === 'refused' && (answer.status === 409 || answer.status === 410);
  if (ended) throw new AttemptOver({ kind: 'stopped', message: answer.message });
  throw failed('transfer_failed', name, answer.message);
}

/** Tells of the work's begin and end. */
export async function step<T>(run: AttemptRun, name: string, work: () => Promise<T>): Promise<T> {
  const { emit } = run.context;
  const startedAt = performance.now();
  const durationMs = () => Math.round(performance.now() - startedAt);
  emit({ type: 'step', step: name, status: 'started' });
  try {
    const result = await work();
    emit({ type: 'step', step: name, status: 'done', durationMs: durationMs() });
    return result;
  } catch (error) {
    emit({ type: 'step', step: name, status: 'failed', durationMs: durationMs(), detail: (error as Error).message });
    throw error;
  }
}
