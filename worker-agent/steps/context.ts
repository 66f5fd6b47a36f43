/**
 * Makes the context of an attempt's steps: the clients, the clocks, the beats, and the one end of the
 * attempt.
 *
 * Invariant: everything in a context exists from its first moment. A step returns the things that it makes.
 * `signal` aborts once, with the AttemptOver that ends the attempt.
 */
import type { Outcome, Stage } from '#contract';
import { AttemptClient } from '../../client/attempt-client.ts';
import type { WorkerClient } from '../../client/worker-client.ts';
import type { AgentConfig } from '../config.ts';
import { AttemptOver } from '../ending.ts';
import type { EmitOfAttempt } from '../events.ts';
import { ArtifactStore } from '../files/artifact-store.ts';
import type { AttemptKey } from '../guest/arguments.ts';
import { Beats } from '../heartbeat/beats.ts';
import { Contact } from '../heartbeat/contact.ts';
import { SleepWatch } from '../mac/sleep-watch.ts';
import type { AttemptJournal, AttemptState, Phase } from '../state/journal.ts';
import type { Tart } from '../tart/tart.ts';
import { type AgentLimits, beatRequestMs, contactNoteMs } from '../time-limits.ts';

/** The options that the agent gives to an attempt. */
export interface AttemptOptions {
  config: AgentConfig;
  tart: Tart;
  /** Sends the worker's key. */
  workerClient: WorkerClient;
  limits: AgentLimits;
  journal: AttemptJournal;
  emit: EmitOfAttempt;
  /** The controller has told how the attempt has ended. A repeated report calls this again. */
  onOutcome?: ((attempt: AttemptState, outcome: Outcome) => void) | undefined;
  /** A former run of the agent may have left a VM of this name. */
  resumed: boolean;
  /** The agent takes no more builds. Attempts continue, and no VM is kept any longer. */
  drain: AbortSignal;
  /** The operator's second signal: end the attempt now. */
  stop: AbortSignal;
  /** Aborts some time after `stop`. Unfinished work stays on disk for the next run of the agent. */
  leave: AbortSignal;
}

export interface AttemptContext extends AttemptOptions, AsyncDisposable {
  readonly key: AttemptKey;
  /** Sends the attempt's run token. */
  readonly client: AttemptClient;
  readonly artifactStore: ArtifactStore;
  readonly contact: Contact;
  readonly sleepWatch: SleepWatch;
  readonly beats: Beats;
  /** Aborts with an AttemptOver. */
  readonly signal: AbortSignal;
  /** Ends the attempt. Only the first call counts. */
  end(over: AttemptOver): void;
  /** Tells the controller and the watchers which stage begins. */
  enter(stage: Stage): void;
}

export function createContext(options: AttemptOptions): AttemptContext {
  const { journal, workerClient, emit } = options;
  const { assignment, contactAtMs } = journal.state;
  const over = new AbortController();
  const end = (reason: AttemptOver) => over.abort(reason);
  const contact = new Contact(contactAtMs);
  const sleepWatch = new SleepWatch();
  const client = new AttemptClient(workerClient.connection.withKey(assignment.tokens.run));
  const { buildId } = assignment;
  const artifactStore = new ArtifactStore({ buildId, client, worker: workerClient.connection });
  const beats = createBeats(options, client, contact, end);
  return {
    ...options,
    key: { buildId, attempt: assignment.attempt },
    client,
    artifactStore,
    contact,
    sleepWatch,
    beats,
    signal: over.signal,
    end,
    enter(stage) {
      emit({ type: 'stage', stage });
      beats.enter(stage);
    },
    async [Symbol.asyncDispose]() {
      await beats[Symbol.asyncDispose]();
      sleepWatch[Symbol.dispose]();
    },
  };
}

/** The beats of this attempt, not started yet. */
function createBeats(
  { journal, limits, emit }: AttemptOptions,
  client: AttemptClient,
  contact: Contact,
  end: (over: AttemptOver) => void,
): Beats {
  const { buildId, attempt, workerId, timeouts, nextMs } = journal.state.assignment;
  const noteContact = () =>
    journal.update({ contactAtMs: Date.now() }).catch((error) => emit({ type: 'warning', message: String(error) }));
  return new Beats({
    client,
    buildId,
    workerId,
    attempt,
    stage: STAGE_OF[journal.state.phase],
    nextMs,
    repeatMs: limits.beatRepeatMs,
    requestMs: beatRequestMs(timeouts, limits),
    emit,
    onAccepted: () => {
      contact.made();
      if (Date.now() - journal.state.contactAtMs > contactNoteMs(timeouts)) void noteContact();
    },
    onPlatformAway: (message) => contact.platformAway(message),
    onStop: (message) => end(new AttemptOver({ kind: 'stopped', message })),
  });
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
