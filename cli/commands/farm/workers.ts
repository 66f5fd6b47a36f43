/** `expo-build workers`: lists the Macs of the farm, for a key of the farm. */
import { Command } from 'commander';
import type { Worker } from '#contract';
import { AdminClient } from '../../../client/admin-client.ts';
import { ApiError } from '../../../client/answer.ts';
import { CommandError } from '../../command-error.ts';
import type { Interrupts } from '../../interrupts.ts';
import { printJson } from '../../json-lines/json-lines.ts';
import { connect } from '../../settings.ts';
import { ago, columnsOf, table } from '../../words.ts';

export function workersCommand(interrupts: Interrupts): Command {
  return new Command('workers')
    .description('list the Macs of the farm, for a key of scope admin')
    .option('--json', 'print one JSON object on each line', false)
    .addHelpText('after', '\nExample:\n  expo-build workers')
    .action(async ({ json }: { json: boolean }) => {
      const workers = await new AdminClient(await connect(interrupts.signal)).workers().catch(sayWhichKey);
      if (json) for (const worker of workers) printJson({ type: 'worker', worker });
      else process.stdout.write(textOf(workers));
    });
}

function sayWhichKey(error: unknown): never {
  if (error instanceof ApiError && error.status === 403)
    throw new CommandError('The Macs belong to the whole farm, so only a key of scope admin lists them.');
  throw error;
}

function textOf(workers: readonly Worker[]): string {
  if (workers.length === 0) return 'No Mac is registered. docs/first-build.md says how to add one.\n';
  const now = Date.now();
  const rows = workers.map((worker) => [
    ...[worker.name, worker.state, `${worker.slotsInUse} of ${worker.slots}`],
    ...[worker.platforms.join(', '), (worker.pools.length > 0 ? worker.pools : [worker.pool]).join(', ')],
    worker.lastSeenAt ? ago(worker.lastSeenAt, now) : 'never',
    [worker.builds.join(', '), worker.stateReason].filter(Boolean).join('; '),
  ]);
  const head = ['NAME', 'STATE', 'SLOTS', 'PLATFORMS', 'POOLS', 'SEEN', 'BUILDS, OR WHY IT TAKES NONE'];
  return table([head, ...rows], columnsOf(process.stdout));
}
