/** `expo-build submit`: sends the folder of an app to a build, and brings its log and its artifacts. */
import { Command, Option } from 'commander';
import type { Build } from '#contract';
import { BuildsClient } from '../../../client/builds-client.ts';
import { printable } from '../../../client/printable.ts';
import { CommandError, endWith } from '../../command-error.ts';
import { followBuilds } from '../../follow/follow-builds.ts';
import type { Interrupts } from '../../interrupts.ts';
import { connect } from '../../settings.ts';
import { several } from '../../submit/flag-values.ts';
import { Report } from '../../submit/report.ts';
import { addressOf, type SubmitFlags, submitBuilds } from '../../submit/submit-builds.ts';

interface SubmitOptions extends SubmitFlags {
  wait: boolean;
  download: boolean;
  to?: string;
  failFast: boolean;
  detach: boolean;
  json: boolean;
}

export interface Submitted {
  client: BuildsClient;
  builds: readonly { build: Build; address: string }[];
}

/** `onSubmitted` is called as soon as the controller has the builds. */
export function submitCommand(interrupts: Interrupts, onSubmitted: (submitted: Submitted) => void = () => {}): Command {
  return new Command('submit')
    .description('pack the folder of an app, build it, follow the build, and download what it made')
    .argument('[folder]', 'the folder of the app, in which eas.json lies', '.')
    .addOption(new Option('--platform <platform>', 'what is built').choices(['ios', 'android', 'all']).default('ios'))
    .option('--profile <name>', 'a profile of eas.json; else `production`')
    .option('--command <command>', 'what runs in the VM, in place of a profile')
    .option('--artifact <glob>', 'a file to bring back; may be given again', several, [])
    .option('--project <name>', 'the project at the controller; needed if the key reaches several')
    .option('--upload', 'go on to TestFlight or Google Play once the build has succeeded')
    .option('--submit-profile <name>', 'with --upload: a submit profile of eas.json; else `production`')
    .option('--store-key <name>', 'with --upload: the store key; else the only one that is for the app')
    .option('--what-to-test <text>', 'with --upload to TestFlight: what testers are told')
    .optionsGroup('What the build gets:')
    .option('--env <name=value>', 'a variable; may be given again', several, [])
    .option('--secret-env <name>', 'a secret variable, whose value is taken from here; may be given again', several, [])
    .option('--secret-file <path>', 'a file that goes to the build sealed; may be given again', several, [])
    .optionsGroup('What goes along (`expo-build pack --list` shows it):')
    .option('--root <folder>', 'what goes along as a whole; else the git repository that the app is in')
    .option('--include <glob>', 'ignored files that the build needs; may be given again', several, [])
    .option('--with-git [depth]', 'a small .git with the last commit, or with so many: --with-git=50')
    .option('--easignore-adds', '.easignore takes more away from what git sees, and does not replace it', false)
    .optionsGroup('How it is built:')
    .option('--image <name>', 'the image of the VM')
    .option('--pool <name>', 'the pool of Macs')
    .option('--priority <number>', 'from -100 to 100; higher ones are built first')
    .option('--group <name>', 'builds of one group may supersede each other; with `all` it gets -ios and -android')
    .option('--cancel-superseded', 'cancel older builds of the group that have not ended')
    .option('--max-attempts <number>', 'how often it is tried if the farm is at fault')
    .option('--timeout <name=time>', 'such as build=90m, noOutput=30m or queue=2h; may be given again', several, [])
    .option('--after-failure <keep=time>', 'such as keep=30m: keep the VM of a failed build for a look')
    .option('--fingerprint <hash>', "for Expo's build cache; `auto` runs code of the project, also in CI")
    .option('--no-fingerprint', 'do not compute one, as a terminal does for a profile for development')
    .option('--label <name=value>', 'shown with the build; may be given again', several, [])
    .option('--untrusted', "build it as a stranger's source, although the key is trusted")
    .option('--idempotency-key <name>', 'a second `submit` of this name makes no second build')
    .optionsGroup('Following:')
    .option('--no-wait', 'print id and address of the build, and leave')
    .option('--no-download', 'leave the artifacts at the controller')
    .option('--to <folder>', 'where artifacts are written; else ./expo-build-ID')
    .option('--fail-fast', 'leave at the first error in the log that is known', false)
    .option('--detach', 'a CI job that is cancelled leaves the build alone', false)
    .option('--json', 'print one JSON object on each line', false)
    .addHelpText('after', HELP)
    .action(async (folder: string, options: SubmitOptions) => {
      const { json, failFast, detach, wait, download } = options;
      const { to, ...others } = options;
      const idle = [detach && '--detach', failFast && '--fail-fast'].find(Boolean);
      if (!wait && idle) throw new CommandError(`--no-wait follows no build, so ${idle} does nothing. Leave one out.`);
      const client = new BuildsClient(await connect());
      const means = { client, report: new Report(json), signal: interrupts.signal };
      const builds = await submitBuilds(folder, wait && download ? options : others, means);
      onSubmitted({ client, builds: builds.map((build) => ({ build, address: addressOf(client, build) })) });
      if (!wait) {
        // The person at the terminal has already read the id and the address.
        const isSaid = process.stdout.isTTY && process.stderr.isTTY;
        if (json || isSaid) return;
        for (const one of builds) process.stdout.write(`${printable(`${one.id} ${addressOf(client, one)}`)}\n`);
        return;
      }
      const buildIds = builds.map(({ id }) => id);
      const downloadTo = download ? (to ?? (true as const)) : null;
      const withStore = options.upload === true;
      const following = { interrupts, json, failFast, detach, downloadTo, withStore };
      endWith(await followBuilds(client, buildIds, following));
    });
}

const HELP = `
Examples:
  expo-build submit                                  profile production of eas.json, for iOS
  expo-build submit apps/mobile --platform all --profile preview
  expo-build submit --upload                         and on to TestFlight
  expo-build submit --command 'npm ci && npx expo export' --artifact dist

An expo-build.json beside eas.json may have project, command, artifacts, include and secretFiles; flags win.
Ctrl-C leaves the build alone once it is followed, and before that it ends it.`;
