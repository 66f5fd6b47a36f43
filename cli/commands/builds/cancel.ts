/** `expo-build cancel`: cancels builds. */
import { Command } from 'commander';
import { ApiError } from '../../../client/answer.ts';
import { BuildsClient } from '../../../client/builds-client.ts';
import { printable } from '../../../client/printable.ts';
import { CommandError } from '../../command-error.ts';
import type { Interrupts } from '../../interrupts.ts';
import { printJson } from '../../json-lines/json-lines.ts';
import { connect } from '../../settings.ts';

export function cancelCommand(interrupts: Interrupts): Command {
  return new Command('cancel')
    .description('cancel builds that wait or run')
    .argument('<build...>', 'ids of builds')
    .option('--json', 'print one JSON object on each line', false)
    .addHelpText('after', '\nExample:\n  expo-build cancel b_01j5m2c4k8q2f7x0ab9')
    .action(async (buildIds: string[], { json }: { json: boolean }) => {
      const client = new BuildsClient(await connect(interrupts.signal));
      const refusals: string[] = [];
      for (const buildId of new Set(buildIds)) {
        try {
          const build = await client.cancel(buildId);
          if (json) printJson({ type: 'build', build });
          else process.stdout.write(`${printable(build.id)} is cancelled.\n`);
        } catch (error) {
          // If the controller refuses to cancel one build, the others are cancelled all the same.
          if (!(error instanceof ApiError) || error.status >= 500 || error.status === 401) throw error;
          const { reason } = error;
          refusals.push(printable(reason.includes(buildId) ? reason : `${buildId}: ${reason}`));
        }
      }
      if (refusals.length > 0) throw new CommandError(refusals.join('\n'));
    });
}
