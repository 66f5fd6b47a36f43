/** Follows the submission of a build that has succeeded to a store. */
import type { BuildDetail, SubmissionDetail } from '#contract';
import type { BuildsClient } from '../../client/builds-client.ts';
import { jittered, pause } from '../../client/retry.ts';
import { awakeMs } from '../../client/running-clock.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { askSteadily } from './ask-steadily.ts';
import type { FollowBuildOptions } from './follow-build.ts';
import { exitCodeOfSubmission, worstOf } from './outcome.ts';

/** The controller makes the submission as soon as the build has succeeded, or with its next cron. */
const MADE_WITHIN_MS = 5 * 60_000;

type Options = Pick<FollowBuildOptions, 'view' | 'contact' | 'times' | 'signal'> & { client: BuildsClient };

/** Follows the submission that the build asked for. If a store has several, only the newest counts. */
export async function followSubmissionsOf(build: BuildDetail, options: Options): Promise<ExitCode> {
  const { id: buildId } = build;
  const { client, view, times, signal } = options;
  let seen = build;
  for (const untilMs = awakeMs() + MADE_WITHIN_MS; seen.submissions.length === 0; ) {
    const failure = seen.submit?.failure;
    if (failure) {
      view.show({ type: 'not_submitted', buildId, failure });
      return EXIT.refusedByStore;
    }
    if (awakeMs() > untilMs) {
      const message = `The controller has not begun to submit it. Look again with \`expo-build status ${buildId}\`.`;
      view.show({ type: 'note', buildId, message });
      return EXIT.infrastructure;
    }
    await pause(jittered(times.pollMs), signal);
    const steady = steadily(options, `Build ${buildId}`, `expo-build watch ${buildId}`);
    seen = await askSteadily(() => client.look(buildId, signal), steady);
  }
  const newest = seen.submissions.filter(
    ({ store }, index, all) => index === all.findIndex((one) => one.store === store),
  );
  return worstOf(await Promise.all(newest.map(({ id }) => followSubmission(id, options))));
}

/** Follows one submission to its end. */
export async function followSubmission(submissionId: string, options: Options): Promise<ExitCode> {
  const { client, view, times, signal } = options;
  for (let shown = ''; ; ) {
    const submission: SubmissionDetail = await askSteadily(
      () => client.lookAtSubmission(submissionId, signal),
      steadily(options, `Submission ${submissionId}`, 'expo-build watch BUILD'),
    );
    const now = JSON.stringify(submission);
    if (now !== shown) view.show({ type: 'submission', submission });
    shown = now;
    if (submission.endedAt !== null) return exitCodeOfSubmission(submission);
    await pause(jittered(times.pollMs), signal);
  }
}

const steadily = ({ contact, times, signal }: Options, what: string, comeBack: string) => ({
  ...{ contact, signal, what, comeBack },
  ...{ pollMs: times.pollMs, giveUpAfterMs: times.giveUpAfterMs },
});
