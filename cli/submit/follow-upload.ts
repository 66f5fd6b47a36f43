/**
 * Follows a submission that `upload` has made, until it has ended. The submission goes on when the command
 * ends.
 */
import type { SubmissionDetail } from '#contract';
import type { BuildsClient } from '../../client/builds-client.ts';
import type { ExitCode } from '../exit-codes.ts';
import { AWAY_AFTER_MS, Contact, FOLLOW_GIVE_UP_AFTER_MS } from '../follow/contact.ts';
import { followSubmission } from '../follow/follow-submissions.ts';
import { outputGone } from '../follow/views/output.ts';
import { viewFor } from '../follow/views/view-for.ts';
import type { Interrupts } from '../interrupts.ts';

const TIMES = { pollMs: 2_000, lastBytesMs: 0, giveUpAfterMs: FOLLOW_GIVE_UP_AFTER_MS };

export async function followUpload(
  client: BuildsClient,
  { id, buildId }: SubmissionDetail,
  { interrupts, json }: { interrupts: Interrupts; json: boolean },
): Promise<ExitCode> {
  using view = viewFor([buildId], { json, now: () => client.connection.now() });
  const contact = new Contact({
    awayAfterMs: AWAY_AFTER_MS,
    say: (reached, message) => view.show({ type: 'connection', reached, message }),
  });
  const signal = AbortSignal.any([interrupts.signal, outputGone()]);
  return await followSubmission(id, { client, view, contact, times: TIMES, signal });
}
