/**
 * Follows one build to its end: its log as it is printed, and its state by asking every few seconds.
 *
 * Invariant: the log never waits for a question about the state, and no lost connection ends the following
 * before `giveUpAfterMs`. As soon as it shows the first bytes of an attempt, it asks for the state.
 */
import type { Build, BuildDetail } from '#contract';
import type { BuildsClient } from '../../client/builds-client.ts';
import { jittered, pause, within } from '../../client/retry.ts';
import { askSteadily } from './ask-steadily.ts';
import type { Contact } from './contact.ts';
import type { View } from './views/events.ts';

export interface FollowTimes {
  pollMs: number;
  /** How long to wait for the last bytes of a build that has ended. The controller waits up to 10 s. */
  lastBytesMs: number;
  giveUpAfterMs: number;
}

export interface FollowBuildOptions {
  client: BuildsClient;
  buildId: string;
  view: View;
  contact: Contact;
  times: FollowTimes;
  /** Called with each piece of the log. */
  onLog: (text: string, attempt: number) => void;
  /** Called with each answer about the build. */
  onSeen: (build: BuildDetail) => void;
  signal: AbortSignal;
}

/** Resolves with the build that has ended. Rejects with CommandError, or with the signal's reason. */
export async function followBuild(options: FollowBuildOptions): Promise<BuildDetail> {
  const states = new States(options);
  const first = await states.next();
  states.show(first);
  const over = new AbortController();
  const log = new Log(options, AbortSignal.any([options.signal, over.signal]));
  try {
    const build = await untilEnded(first, states, log, options);
    await within(log.over, options.times.lastBytesMs, options.signal);
    log.sayFault();
    states.show(build);
    return build;
  } finally {
    over.abort();
    await log.over;
  }
}

async function untilEnded(first: BuildDetail, states: States, log: Log, { times, signal }: FollowBuildOptions) {
  let build = first;
  let begins = log.nextAttempt;
  while (build.endedAt === null) {
    // The build has mostly ended when its log ends.
    await pauseUnless(AbortSignal.any([log.hasEnded, begins]), jittered(times.pollMs), signal);
    const hadEnded = log.hasEnded.aborted;
    // If an attempt begins during the question, the next turn asks again at once.
    begins = log.nextAttempt;
    build = await states.next();
    if (build.endedAt !== null) break;
    states.show(build);
    if (!hadEnded) continue;
    log.sayFault();
    await pause(jittered(times.pollMs), signal);
  }
  return build;
}

/** Shows the log of the build as it comes. */
class Log {
  /** Resolves at the end of the log, also if the log cannot be followed. */
  readonly over: Promise<void>;
  readonly #end = new AbortController();
  #begins = new AbortController();
  #attempt = 0;
  readonly #options: FollowBuildOptions;
  #fault: string | null = 'its last lines did not come in time';

  constructor(options: FollowBuildOptions, signal: AbortSignal) {
    this.#options = options;
    this.over = this.#show(signal);
  }

  get hasEnded(): AbortSignal {
    return this.#end.signal;
  }

  /** Aborts at the first bytes of the next attempt that prints. */
  get nextAttempt(): AbortSignal {
    return this.#begins.signal;
  }

  /** Says once that the end of the log is not shown, and why. */
  sayFault(): void {
    const { view, buildId } = this.#options;
    const message = `The log cannot be shown to its end: ${this.#fault}`;
    if (this.#fault !== null) view.show({ type: 'note', buildId, message });
    this.#fault = null;
  }

  async #show(signal: AbortSignal): Promise<void> {
    const { client, buildId, view, contact, times, onLog } = this.#options;
    try {
      const parts = client.followLogParts(buildId, {
        ...{ signal, giveUpAfterMs: times.giveUpAfterMs },
        onHeard: () => contact.heard(),
        onLost: (why, sinceMs) => contact.lost(why, sinceMs),
      });
      for await (const { attempt, text } of parts) {
        view.show({ type: 'log', buildId, attempt, text });
        onLog(text, attempt);
        if (attempt !== this.#attempt) this.#begin(attempt);
        await view.ready(signal);
      }
      this.#fault = null;
    } catch (error) {
      this.#fault = (error as Error).message;
    } finally {
      this.#end.abort();
    }
  }

  #begin(attempt: number): void {
    this.#attempt = attempt;
    const begins = this.#begins;
    this.#begins = new AbortController();
    begins.abort();
  }
}

/** Waits until the time is over or `early` aborts. */
async function pauseUnless(early: AbortSignal, ms: number, signal: AbortSignal): Promise<void> {
  if (early.aborted) return;
  await pause(ms, AbortSignal.any([signal, early])).catch(() => signal.throwIfAborted());
}

/** Asks for the state of the build, and shows it with the progress of the running attempt. */
class States {
  readonly #options: FollowBuildOptions;
  #shown = '';
  #shownProgress = '';

  constructor(options: FollowBuildOptions) {
    this.#options = options;
  }

  async next(): Promise<BuildDetail> {
    const { client, buildId, contact, times, signal, onSeen } = this.#options;
    const build = await askSteadily(() => client.look(buildId, signal), {
      ...{ contact, signal, pollMs: times.pollMs, giveUpAfterMs: times.giveUpAfterMs },
      what: `Build ${buildId}`,
      comeBack: `expo-build watch ${buildId}`,
    });
    onSeen(build);
    return build;
  }

  /** Shows each change, and the end of the build in any case. */
  show(build: BuildDetail): void {
    const { view, buildId } = this.#options;
    const { status, attempt, endedAt, live, waitingFor, queue } = build;
    const state = `${status} ${attempt}`;
    if (state !== this.#shown || endedAt !== null) view.show({ type: 'build', build: withoutDetail(build) });
    this.#shown = state;
    const progress = JSON.stringify([live, waitingFor, queue]);
    if (progress !== this.#shownProgress) view.show({ type: 'progress', buildId, live, waitingFor, queue });
    this.#shownProgress = progress;
  }
}

function withoutDetail({
  attempts,
  events,
  artifacts,
  submissions,
  live,
  waitingFor,
  queue,
  ...build
}: BuildDetail): Build {
  return build;
}
