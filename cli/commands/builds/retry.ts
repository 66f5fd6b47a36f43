/** `expo-build retry`: makes a new build of the same source and options as one that has ended. */
import { Command } from 'commander';
import { BuildsClient } from '../../../client/builds-client.ts';
import { printable } from '../../../client/printable.ts';
import { endWith } from '../../command-error.ts';
import { followBuilds } from '../../follow/follow-builds.ts';
import type { Interrupts } from '../../interrupts.ts';
import { printJson } from '../../json-lines/json-lines.ts';
import { connect } from '../../settings.ts';
import { Report } from '../../submit/report.ts';

export function retryCommand(interrupts: Interrupts): Command {
  return new Command('retry')
    .description('build once more what a build that has ended was made of')
    .argument('<build>', 'the id of a build')
    .option('--watch', 'follow the new build until it has ended, and end with its exit code', false)
    .option('--json', 'print one JSON object on each line', false)
    .addHelpText('after', '\nExample:\n  expo-build retry b_01j5m2c4k8q2f7x0ab9 --watch')
    .action(async (buildId: string, { watch, json }: { watch: boolean; json: boolean }) => {
      const { signal } = interrupts;
      const client = new BuildsClient(await connect(signal));
      const report = new Report(json);
      const build = await client.retry(buildId, { signal, onUnreachable: report.away });
      report.reached();
      // With --watch, the view shows the new build.
      if (json && !watch) printJson({ type: 'build', build });
      if (!json) process.stdout.write(`${printable(build.id)} is queued. It retries ${printable(buildId)}.\n`);
      if (!watch) return;
      const options = { failFast: false, detach: false, downloadTo: null, withStore: true };
      endWith(await followBuilds(client, [build.id], { interrupts, json, ...options }));
    });
}
