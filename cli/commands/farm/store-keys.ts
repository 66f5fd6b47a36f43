/**
 * `expo-build store-keys`: sets, lists and removes the keys with which a project speaks to the stores.
 *
 * Invariant: a private key comes from a file, and is never printed. A file that eas.json names is read only
 * if it lies inside the project. Only a person names one outside of it, with a flag.
 */
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import type { z } from 'zod';
import { STORE_KEY_TEXT_MAX, StoreKeyRequest, wordsOf } from '#contract';
import { fileBeside } from '../../../client/packing/files-of-source.ts';
import { printable } from '../../../client/printable.ts';
import { readKeyFile } from '../../../client/project/submit/key-file.ts';
import { readSubmitProfile } from '../../../client/project/submit/read-submit-profile.ts';
import { ProjectClient } from '../../../client/project-client.ts';
import { bytesOf } from '../../../client/safe-files.ts';
import { CommandError } from '../../command-error.ts';
import type { Interrupts } from '../../interrupts.ts';
import { printJson } from '../../json-lines/json-lines.ts';
import { connect } from '../../settings.ts';
import { several } from '../../submit/flag-values.ts';
import { ago, columnsOf, table } from '../../words.ts';
import { PROJECT_OPTION, projectOf } from '../project-option.ts';

interface StoreKeysOptions {
  project?: string;
  json: boolean;
}

interface SetOptions extends StoreKeysOptions {
  platform: 'ios' | 'android';
  app: string[];
  submitProfile?: string;
  file?: string;
  keyId?: string;
  issuerId?: string;
  pool: string[];
}

const collect = (value: string, before: string[] = []): string[] => several(value, before);

const JSON_OPTION = ['--json', 'print one JSON object on each line', false] as const;

export function storeKeysCommand(interrupts: Interrupts): Command {
  return new Command('store-keys')
    .description('set, list and remove the keys of App Store Connect and Google Play')
    .addHelpText('after', HELP)
    .addCommand(
      new Command('set')
        .description('store the key of a store, which is asked at once whether it takes it')
        .argument('<name>', 'a name of your own for the key')
        .addOption(
          new Option('--platform <platform>', 'ios for App Store Connect, android for Google Play')
            .choices(['ios', 'android'])
            .makeOptionMandatory(),
        )
        .requiredOption('--app <id>', 'a bundle id or package that it may upload; may be given again', collect)
        .option('--submit-profile <name>', 'a submit profile of the eas.json in this folder; else `production`')
        .option('--file <path>', 'AuthKey_*.p8 or the JSON of a service account; else the one that eas.json names')
        .option('--key-id <id>', 'App Store Connect: the key id; else `ascApiKeyId` of eas.json')
        .option('--issuer-id <id>', 'App Store Connect: the issuer id; else `ascApiKeyIssuerId` of eas.json')
        .option('--pool <name>', 'for builds of this pool; may be given again; else of all trusted pools', several, [])
        .option(...PROJECT_OPTION)
        .option(...JSON_OPTION)
        .addHelpText('after', EXAMPLES)
        .action((name: string, options: SetOptions) => setStoreKey(name, options, interrupts.signal)),
    )
    .addCommand(
      new Command('list')
        .description('list stores, key ids, apps and pools; a private key is never shown again')
        .option(...PROJECT_OPTION)
        .option(...JSON_OPTION)
        .addHelpText('after', '\nExample:\n  expo-build store-keys list --project shop')
        .action((options: StoreKeysOptions) => listStoreKeys(options, interrupts.signal)),
    )
    .addCommand(
      new Command('rm')
        .description('remove a key; submissions that still need it fail')
        .argument('<name>')
        .option(...PROJECT_OPTION)
        .option(...JSON_OPTION)
        .addHelpText('after', '\nExample:\n  expo-build store-keys rm apple')
        .action((name: string, options: StoreKeysOptions) => removeStoreKey(name, options, interrupts.signal)),
    );
}

const EXAMPLES = `
Examples:
  expo-build store-keys set apple --platform ios --app com.example.shop        as submit.production of eas.json says
  expo-build store-keys set apple --platform ios --app com.example.shop \\
    --file ~/AuthKey_2X9R4HXF34.p8 --key-id 2X9R4HXF34 --issuer-id 57246542-96fe-1a63-e053-0824d011072a
  expo-build store-keys set play --platform android --app com.example.shop --file service-account.json`;

const HELP = `${EXAMPLES}
  expo-build store-keys list
  expo-build store-keys rm apple

To set and remove, the key needs the right admin for the project.`;

async function setStoreKey(name: string, options: SetOptions, signal: AbortSignal): Promise<void> {
  const request = StoreKeyRequest.safeParse(await requestOf(options));
  if (!request.success) throw new CommandError(sentenceOf(request.error.issues[0]!));
  const client = new ProjectClient(await connect(signal));
  const project = await projectOf(client, options.project);
  const { storeKey, warnings } = await client.setStoreKey(project, name, request.data);
  if (options.json) return printJson({ type: 'store_key_set', project, storeKey, warnings });
  for (const warning of warnings) process.stderr.write(`${printable(warning)}\n`);
  const { identity, version, apps } = storeKey;
  const row = [storeKey.name, `version ${version}`, identity, `for ${apps.join(', ')}`];
  process.stdout.write(table([row], columnsOf(process.stdout)));
}

const FLAGS: Readonly<Record<string, string>> = {
  ...{ keyId: '--key-id', issuerId: '--issuer-id', apps: '--app', pools: '--pool' },
  ...{ privateKey: '--file', serviceAccount: '--file' },
};

const sentenceOf = (issue: z.core.$ZodIssue): string =>
  `${FLAGS[String(issue.path[0])] ?? String(issue.path[0])} ${wordsOf(issue)}.`;

async function requestOf({ platform, app, pool, submitProfile, ...flags }: SetOptions): Promise<object> {
  const use = { apps: app, ...(pool.length > 0 && { pools: pool }) };
  const needsProfile = flags.file === undefined || submitProfile !== undefined;
  const profile = needsProfile ? await profileOf(platform, submitProfile) : null;
  const text = flags.file === undefined ? textInProject(profile?.path ?? null, platform) : textOf(flags.file);
  if (platform === 'android') return { store: 'google-play', serviceAccount: text, ...use };
  const issuerId = flags.issuerId ?? profile?.issuerId ?? undefined;
  const keyId = flags.keyId ?? profile?.keyId;
  if (keyId === undefined) throw new CommandError('--key-id is needed: App Store Connect shows it beside the key.');
  return { store: 'app-store-connect', keyId, privateKey: text, ...(issuerId !== undefined && { issuerId }), ...use };
}

/** The folder in which the person is. */
const here = () => ({ root: resolve('.'), appRoot: '.' });

async function profileOf(platform: SetOptions['platform'], name: string | undefined) {
  const read = await readSubmitProfile(fileBeside(here(), 'eas.json'), '.', platform, name, process.env);
  if (!read.ok) throw new CommandError(read.problem);
  const { options, storeKey } = read.value;
  return { ...storeKey, keyId: options.store === 'app-store-connect' ? options.ascApiKeyId : undefined };
}

function textInProject(path: string | null, platform: SetOptions['platform']): string {
  if (path === null) {
    const field = platform === 'ios' ? 'ascApiKeyPath' : 'serviceAccountKeyPath';
    throw new CommandError(`--file is needed, because the submit profile of eas.json names no ${field}.`);
  }
  const read = readKeyFile(resolve('.'), '.', path);
  if (!read.ok) throw new CommandError(read.problem);
  return read.value;
}

function textOf(path: string): string {
  const bytes = bytesOf(path, STORE_KEY_TEXT_MAX + 1);
  if (bytes === null || bytes.length > STORE_KEY_TEXT_MAX)
    throw new CommandError(`--file: ${path} is no file of at most ${STORE_KEY_TEXT_MAX / 1024} KiB.`);
  return bytes.toString('utf8');
}

async function listStoreKeys({ project: named, json }: StoreKeysOptions, signal: AbortSignal): Promise<void> {
  const client = new ProjectClient(await connect(signal));
  const project = await projectOf(client, named);
  const keys = await client.storeKeys(project);
  if (json) {
    for (const storeKey of keys) printJson({ type: 'store_key', project, storeKey });
    return;
  }
  if (keys.length === 0) return void process.stdout.write(`Project ${printable(project)} has no store keys.\n`);
  const now = Date.now();
  const rows = keys.map(({ name, store, identity, apps, pools, version, setAt, setBy }) => [
    ...[name, store, identity, apps.join(', '), pools.join(', '), String(version)],
    ...[ago(setAt, now), setBy.name ?? setBy.keyId],
  ]);
  const head = ['NAME', 'STORE', 'KEY', 'APPS', 'POOLS', 'VERSION', 'SET', 'SET BY'];
  process.stdout.write(table([head, ...rows], columnsOf(process.stdout)));
}

async function removeStoreKey(name: string, options: StoreKeysOptions, signal: AbortSignal): Promise<void> {
  const client = new ProjectClient(await connect(signal));
  const project = await projectOf(client, options.project);
  const storeKey = await client.removeStoreKey(project, name);
  if (options.json) return printJson({ type: 'store_key_removed', project, storeKey });
  process.stdout.write(table([['removed', storeKey.name, storeKey.store]], columnsOf(process.stdout)));
}
