/** Cancels builds whose follower ends, within the few seconds that a CI system leaves to a job. */
import type { Build } from '#contract';
import { ApiError } from '../../client/answer.ts';
import type { BuildsClient } from '../../client/builds-client.ts';
import { printable } from '../../client/printable.ts';
import { pause } from '../../client/retry.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';

/** GitHub sends SIGTERM 7.5 s after SIGINT, and kills 2.5 s later. */
const LIMIT_MS = 6_000;
const PAUSE_MS = 500;

export async function cancelBuilds(client: BuildsClient, buildIds: readonly string[]): Promise<ExitCode> {
  const say = (buildId: string, words: string) =>
    void process.stderr.write(`expo-build: ${buildId} ${printable(words)}.\n`);
  const over = AbortSignal.timeout(LIMIT_MS);
  const codes = await Promise.all(
    buildIds.map(async (buildId): Promise<ExitCode> => {
      const ended = await cancel(client, buildId, over);
      if (typeof ended === 'string') {
        say(buildId, `could not be cancelled: ${ended}. Run \`expo-build cancel ${buildId}\``);
        return EXIT.unreachable;
      }
      say(buildId, ended.status === 'cancelled' ? 'is cancelled' : `had ended before: ${ended.status}`);
      return EXIT.cancelled;
    }),
  );
  return codes.find((code) => code !== EXIT.cancelled) ?? EXIT.cancelled;
}

/** Resolves with the build that has ended, or with the reason why it may go on. */
async function cancel(client: BuildsClient, buildId: string, over: AbortSignal): Promise<Build | string> {
  for (let why = 'no answer in time'; ; ) {
    try {
      return await client.cancel(buildId, over).catch((error) => {
        // The build has ended. Another question finds out how, and its answer may get lost too.
        if (error instanceof ApiError && error.status === 409) return client.build(buildId, over);
        throw error;
      });
    } catch (error) {
      if (over.aborted) return why;
      if (!(error instanceof ApiError)) throw error;
      why = error.message;
      if (error.status < 500) return why;
    }
    try {
      await pause(PAUSE_MS, over);
    } catch {
      return why;
    }
  }
}
