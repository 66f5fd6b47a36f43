/**
 * Follows one build to its end: its log as it is printed, and its state by asking every few seconds.
 *
 * Invariant: the log never waits for a question about the state, and no lost connection ends the following
 * before `giveUpAfterMs`.
 */
import type { Build, BuildDetail } from '#contract';
import type { BuildsClient } from '../../client/builds-client.ts';
import { jittered, pause, within } from '../../client/retry.ts';
import { askSteadily } from './ask-steadily.ts';
import type { Contact } from './contact.ts';
import type { View } from './views/events.ts';

export interface FollowTimes {
  pollMs: number;
  /** How long the last bytes of an ended build are waited for. The controller waits up to 10 s. */
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
  const { signal, times, buildId, view } = options;
  const over = new AbortController();
  const logOver = new AbortController();
  let logFault: Error | null = null;
  const log = showLog(options, AbortSignal.any([signal, over.signal]))
    .catch((error: Error) => {
      logFault = error;
    })
    .finally(() => logOver.abort());
  const sayFault = (why: string) =>
    view.show({ type: 'note', buildId, message: `The log cannot be shown to its end: ${why}` });
  try {
    const states = new States(options);
    let build = await states.next();
    // The end of the log most often is the end of the build.
    let early: AbortSignal | null = logOver.signal;
    while (build.endedAt === null) {
      await pauseUnless(early, jittered(times.pollMs), signal);
      build = await states.next();
      if (build.endedAt !== null || !early?.aborted) continue;
      early = null;
      if (logFault) sayFault((logFault as Error).message);
    }
    if (early === null) return build;
    await within(log, times.lastBytesMs, signal);
    if (logFault) sayFault((logFault as Error).message);
    else if (!logOver.signal.aborted) sayFault('its last lines did not come in time');
    return build;
  } finally {
    over.abort();
    await log;
  }
}

/** Waits, but not if `early` has aborted or aborts. */
async function pauseUnless(early: AbortSignal | null, ms: number, signal: AbortSignal): Promise<void> {
  if (early?.aborted) return;
  await pause(ms, early ? AbortSignal.any([signal, early]) : signal).catch(() => signal.throwIfAborted());
}

async function showLog({ client, buildId, view, contact, times, onLog }: FollowBuildOptions, signal: AbortSignal) {
  const parts = client.followLogParts(buildId, {
    signal,
    giveUpAfterMs: times.giveUpAfterMs,
    onHeard: () => contact.heard(),
    onLost: (why) => contact.lost(why),
  });
  for await (const { attempt, text } of parts) {
    view.show({ type: 'log', buildId, attempt, text });
    onLog(text, attempt);
    await view.ready();
  }
}

/** Asks for the state of the build, and shows what has changed. */
class States {
  readonly #options: FollowBuildOptions;
  #shown = '';
  #shownProgress = '';

  constructor(options: FollowBuildOptions) {
    this.#options = options;
  }

  async next(): Promise<BuildDetail> {
    const { client, buildId, view, contact, times, signal, onSeen } = this.#options;
    const build = await askSteadily(() => client.look(buildId, signal), {
      ...{ contact, signal, pollMs: times.pollMs, giveUpAfterMs: times.giveUpAfterMs },
      what: `Build ${buildId}`,
      comeBack: `expo-build watch ${buildId}`,
    });
    const { live, waitingFor } = build;
    const state = `${build.status} ${build.attempt}`;
    if (state !== this.#shown) view.show({ type: 'build', build: withoutDetail(build) });
    this.#shown = state;
    const progress = JSON.stringify([live, waitingFor]);
    if (progress !== this.#shownProgress) view.show({ type: 'progress', buildId, live, waitingFor });
    this.#shownProgress = progress;
    onSeen(build);
    return build;
  }
}

function withoutDetail({ attempts, events, artifacts, submissions, live, waitingFor, ...build }: BuildDetail): Build {
  return build;
}
