/** `expo-build watch`: follows builds to their end, and ends with the exit code of the worst one. */
import { Command } from 'commander';
import { BuildsClient } from '../../../client/builds-client.ts';
import { endWith } from '../../command-error.ts';
import { followBuilds } from '../../follow/follow-builds.ts';
import type { Interrupts } from '../../interrupts.ts';
import { connect } from '../../settings.ts';

interface WatchOptions {
  failFast: boolean;
  detach: boolean;
  json: boolean;
}

export function watchCommand(interrupts: Interrupts): Command {
  return new Command('watch')
    .description('follow builds until they have ended: their logs, how far they are, and why they failed')
    .argument('<build...>', 'the ids of builds')
    .option('--fail-fast', 'leave at the first error in a log that is known; the builds go on', false)
    .option('--detach', 'without a terminal: leave the builds alone when this command is stopped', false)
    .option('--json', 'print one JSON object on each line', false)
    .addHelpText('after', HELP)
    .action(async (buildIds: string[], { failFast, detach, json }: WatchOptions) => {
      const client = new BuildsClient(await connect());
      const ids = [...new Set(buildIds)];
      endWith(
        await followBuilds(client, ids, { interrupts, json, failFast, detach, downloadTo: null, withStore: true }),
      );
    });
}

const HELP = `
Example:
  expo-build watch b_0123456789abcdef

Ctrl-C leaves and the build goes on; a second one within 2 s asks whether to cancel it. Without a terminal, as
in CI, SIGINT and SIGTERM cancel the build, unless --detach is given.`;
