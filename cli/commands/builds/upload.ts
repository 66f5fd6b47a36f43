/** `expo-build upload`: takes a build that is stored at the controller to TestFlight or Google Play. */
import { randomUUID } from 'node:crypto';
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { RELEASE_STATUSES } from '#contract';
import { ApiError } from '../../../client/answer.ts';
import { BuildsClient } from '../../../client/builds-client.ts';
import { fileBeside } from '../../../client/packing/files-of-source.ts';
import { printable } from '../../../client/printable.ts';
import { CommandError, endWith } from '../../command-error.ts';
import { EXIT } from '../../exit-codes.ts';
import type { Interrupts } from '../../interrupts.ts';
import { connect } from '../../settings.ts';
import { several } from '../../submit/flag-values.ts';
import { followUpload } from '../../submit/follow-upload.ts';
import { Report } from '../../submit/report.ts';
import { type StoreFlags, storeOptions } from '../../submit/store-options.ts';

interface UploadOptions extends StoreFlags {
  wait: boolean;
  json: boolean;
  idempotencyKey?: string;
}

export function uploadCommand(interrupts: Interrupts): Command {
  return new Command('upload')
    .description('take the app of a build to TestFlight or Google Play')
    .argument('<build>', 'the id of a build that has succeeded')
    .option('--submit-profile <name>', 'a submit profile of the eas.json in this folder; else `production`')
    .option('--artifact <name>', 'the artifact; else the only one that the store takes')
    .option('--store-key <name>', 'the store key; else the only one that is for the app')
    .optionsGroup('App Store Connect:')
    .option('--asc-app-id <id>', 'the Apple ID of the app, a number; else it is looked up by the bundle id')
    .option('--groups <name>', 'an internal group of testers; may be given again', several, [])
    .option('--what-to-test <text>', 'what testers are told')
    .option('--locale <locale>', 'the language of that text; else en-US')
    .optionsGroup('Google Play:')
    .option('--track <name>', 'the track; else internal')
    .addOption(new Option('--release-status <status>', 'else completed').choices(RELEASE_STATUSES))
    .option('--rollout <fraction>', 'with inProgress: the fraction of users, above 0 and at most 1')
    .option('--changes-not-sent-for-review', 'somebody sends the changes for review in Play Console')
    .optionsGroup('Following:')
    .option('--no-wait', 'print the id of the submission, and leave')
    .option('--idempotency-key <name>', 'a second `upload` of this name makes no second submission')
    .option('--json', 'print one JSON object on each line', false)
    .addHelpText('after', HELP)
    .action(async (buildId: string, { wait, json, idempotencyKey = randomUUID(), ...flags }: UploadOptions) => {
      const { signal } = interrupts;
      const client = new BuildsClient(await connect());
      const report = new Report(json);
      const { platform } = await client.build(buildId, signal);
      const here = { root: resolve('.'), appRoot: '.' };
      const project = { files: fileBeside(here, 'eas.json'), appRoot: '.' };
      const { options, notes } = await storeOptions(project, platform, flags);
      for (const note of notes) report.say(note);
      const request = { ...options, idempotencyKey };
      const submission = await client
        .submitToStore(buildId, request, { signal, onUnreachable: report.away })
        .catch(sayWhoRefuses);
      report.reached();
      if (wait) endWith(await followUpload(client, submission, { interrupts, json }));
      else if (json) report.line({ type: 'submission', submission });
      else process.stdout.write(`${printable(submission.id)}\n`);
    });
}

/** The controller asks the store before the upload begins. */
function sayWhoRefuses(error: Error): never {
  if (error instanceof ApiError && error.code === 'store_refused')
    throw new CommandError(error.reason, EXIT.refusedByStore);
  throw error;
}

const HELP = `
Examples:
  expo-build upload b_0123456789abcdefghij                        as submit.production of eas.json says
  expo-build upload b_0123456789abcdefghij --groups QA --what-to-test 'The new basket.'
  expo-build upload b_0123456789abcdefghij --track internal --release-status draft

The key of the store is stored at the controller, and never here. The exit code is 7 if the store refuses.`;
