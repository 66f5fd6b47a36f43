/** `expo-build download`: puts artifacts of a build into a folder of their own. */
import { Command } from 'commander';
import { BuildsClient } from '../../../client/builds-client.ts';
import { CommandError } from '../../command-error.ts';
import { EXIT } from '../../exit-codes.ts';
import { ownFolderOf, showArtifacts } from '../../follow/show-artifacts.ts';
import { viewFor } from '../../follow/views/view-for.ts';
import type { Interrupts } from '../../interrupts.ts';
import { connect } from '../../settings.ts';

export function downloadCommand(interrupts: Interrupts): Command {
  return new Command('download')
    .description('download the artifacts of a build into a folder of their own')
    .argument('<build>', 'the id of a build')
    .argument('[name...]', 'the artifacts to download; else all')
    .option('--to <folder>', 'where to put them; else expo-build-BUILD in the current folder')
    .option('--json', 'print one JSON object on each line', false)
    .addHelpText('after', HELP)
    .action(async (buildId: string, names: string[], { to, json }: { to?: string; json: boolean }) => {
      const client = new BuildsClient(await connect());
      const build = await client.build(buildId, interrupts.signal);
      if (build.artifacts.length === 0) {
        const why = build.endedAt === null ? `it is ${build.status} still` : 'it left none, or they are deleted';
        throw new CommandError(`Build ${buildId} has no artifacts: ${why}.`, EXIT.failed);
      }
      using view = viewFor([buildId], { json, now: () => client.connection.now() });
      const options = { view, folder: to ?? ownFolderOf(buildId), names: names.length > 0 ? names : null };
      await showArtifacts(client, build, { ...options, signal: interrupts.signal });
    });
}

const HELP = `
Examples:
  expo-build download b_0123456789abcdef
  expo-build download b_0123456789abcdef App.ipa --to dist

Each file is checked against its SHA-256. A file that is there already is never replaced, and one that is the
same is not downloaded again. After an interruption the same command continues where it stopped.`;
