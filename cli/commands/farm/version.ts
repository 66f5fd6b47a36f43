/** `expo-build version`: shows and sets the counters from which apps get their build numbers. */
import { Argument, Command } from 'commander';
import { type Build, buildNumberMax } from '#contract';
import { ProjectClient } from '../../../client/project-client.ts';
import { CommandError } from '../../command-error.ts';
import type { Interrupts } from '../../interrupts.ts';
import { printJson } from '../../json-lines/json-lines.ts';
import { connect } from '../../settings.ts';
import { ago, columnsOf, table } from '../../words.ts';
import { PROJECT_OPTION, projectOf } from '../project-option.ts';

interface VersionOptions {
  project?: string;
  json: boolean;
}

type Platform = Build['platform'];

export function versionCommand(interrupts: Interrupts): Command {
  return new Command('version')
    .description('show and set the counters of build numbers')
    .addHelpText('after', HELP)
    .addCommand(
      new Command('get')
        .description('show the counters of the apps of a project')
        .argument('[app-id]', 'one app alone: a bundle id, or a package')
        .option(...PROJECT_OPTION)
        .option('--json', 'print one JSON object on each line', false)
        .addHelpText('after', '\nExample:\n  expo-build version get --project shop')
        .action((appId: string | undefined, options: VersionOptions) => getVersion(appId, options, interrupts.signal)),
    )
    .addCommand(
      new Command('set')
        .description('set the counter of an app to the number that its store has now')
        .addArgument(new Argument('<platform>').choices(['ios', 'android']))
        .argument('<app-id>', 'a bundle id, or a package')
        .argument('<number>', 'the next build gets one more')
        .option(...PROJECT_OPTION)
        .option('--json', 'print one JSON object on each line', false)
        .addHelpText('after', '\nExample:\n  expo-build version set ios com.example.shop 41')
        .action((platform: Platform, appId: string, number: string, options: VersionOptions) =>
          setVersion({ platform, appId, number }, options, interrupts.signal),
        ),
    );
}

const HELP = `
Examples:
  expo-build version get
  expo-build version set android com.example.shop 41

Set a counter once, before the first build of an app that its store already has. The key needs the right numbers.`;

async function getVersion(
  appId: string | undefined,
  { project: named, json }: VersionOptions,
  signal: AbortSignal,
): Promise<void> {
  const client = new ProjectClient(await connect(signal));
  const project = await projectOf(client, named);
  const counters = (await client.counters(project)).filter((one) => appId === undefined || one.appId === appId);
  if (json) {
    for (const counter of counters) printJson({ type: 'counter', project, counter });
    return;
  }
  if (counters.length === 0) {
    const what = appId === undefined ? 'No app of this project' : `The app ${appId}`;
    throw new CommandError(`${what} has a counter yet. \`expo-build version set\` makes one.`);
  }
  const now = Date.now();
  const rows = counters.map(({ platform, appId, value, setBy, updatedAt }) => [
    ...[platform, appId, String(value), ago(updatedAt, now)],
    setBy ? `set by ${setBy.name ?? setBy.keyId}` : '',
  ]);
  process.stdout.write(table([['PLATFORM', 'APP', 'COUNTER', 'CHANGED', ''], ...rows], columnsOf(process.stdout)));
}

async function setVersion(
  { platform, appId, number }: { platform: Platform; appId: string; number: string },
  options: VersionOptions,
  signal: AbortSignal,
): Promise<void> {
  const value = /^\d{1,15}$/.test(number) ? Number(number) : 0;
  const max = buildNumberMax(platform);
  if (value < 1 || value > max) throw new CommandError(`The number must be a whole number from 1 to ${max}.`);
  const client = new ProjectClient(await connect(signal));
  const project = await projectOf(client, options.project);
  const counter = await client.setCounter(project, platform, appId, value);
  if (options.json) return printJson({ type: 'counter_set', project, counter });
  const was = counter.was === null ? 'It had none before' : `It was ${counter.was}`;
  process.stdout.write(
    `The counter of ${appId} for ${platform} is ${value}. ${was}. The next build gets ${value + 1}.\n`,
  );
}
