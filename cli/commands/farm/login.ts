/** `expo-build login`: checks the address and the key of a controller, and stores them for this account. */
import { Command } from 'commander';
import type { Grant, Me, Project } from '#contract';
import { ApiError } from '../../../client/answer.ts';
import { ProjectClient } from '../../../client/project-client.ts';
import { Connection } from '../../../client/request.ts';
import { CommandError } from '../../command-error.ts';
import { askLine, askSecret, readPipedLine } from '../../input.ts';
import type { Interrupts } from '../../interrupts.ts';
import { printJson } from '../../json-lines/json-lines.ts';
import { addressOf, forgetSettings, keyOf, settingsPath, storedSettings, storeSettings } from '../../settings.ts';
import { moment, table } from '../../words.ts';

interface LoginOptions {
  url?: string;
  keyStdin: boolean;
  forget: boolean;
  json: boolean;
}

export function loginCommand(interrupts: Interrupts): Command {
  return new Command('login')
    .description('check the address and the key of a controller, and keep them for this account')
    .option('--url <address>', 'the address of the controller; else it is asked for')
    .option('--key-stdin', 'read the key from standard input; else it is asked for, and not shown', false)
    .option('--forget', 'delete the address and the key that are kept', false)
    .option('--json', 'print one JSON object on each line', false)
    .addHelpText('after', HELP)
    .action(async (options: LoginOptions) => {
      if (options.forget) return await forget(options);
      const { signal } = interrupts;
      const url = await addressFor(options, signal);
      const key = await keyFor(options, signal);
      const projectClient = new ProjectClient(new Connection({ url, key, signal }));
      const me = await projectClient.me().catch(sayWhichKey);
      if (me.scope === 'worker')
        throw new CommandError(
          'This is the key of a Mac, with which only its agent works. Ask an admin for a key of scope submit or read.',
        );
      const projects = await projectClient.projects();
      const path = await storeSettings({ url, key });
      if (options.json) printJson({ type: 'login', url, key: me, projects, path });
      else process.stdout.write(textOf({ url, me, projects, path }));
      if (process.env.EXPO_BUILD_URL || process.env.EXPO_BUILD_KEY)
        process.stderr.write('Commands will use EXPO_BUILD_URL and EXPO_BUILD_KEY as long as these are set.\n');
    });
}

const HELP = `
Examples:
  expo-build login
  expo-build login --url https://builds.example.com --key-stdin < key.txt
  expo-build login --forget

In CI, set EXPO_BUILD_URL and EXPO_BUILD_KEY instead. A key is never an argument, because other accounts of
this machine could read it there.`;

async function forget({ json }: LoginOptions): Promise<void> {
  const wasStored = await forgetSettings();
  if (json) return printJson({ type: 'forgotten', wasStored });
  const path = settingsPath();
  process.stdout.write(wasStored ? `Deleted: ${path}. The key itself still works.\n` : `There is no ${path}.\n`);
}

async function addressFor(options: LoginOptions, signal: AbortSignal): Promise<string> {
  const given = options.url ?? process.env.EXPO_BUILD_URL;
  if (given) return addressOf(given, options.url ? '--url' : 'EXPO_BUILD_URL');
  // The stored settings may be unreadable. This command is about to replace them.
  const stored = await storedSettings().catch(() => null);
  const asked = { message: 'Address of the controller', otherwise: 'Give --url and --key-stdin.', signal };
  return addressOf(await askLine({ ...asked, initial: stored?.url }), 'The address');
}

async function keyFor({ keyStdin }: LoginOptions, signal: AbortSignal): Promise<string> {
  if (keyStdin) {
    const pipe = { flag: '--key-stdin', otherwise: 'Send the key as it was shown.', maxBytes: 4_096, signal };
    return keyOf(await readPipedLine(pipe), 'Standard input');
  }
  return keyOf(await askSecret({ message: 'Key', otherwise: 'Give --key-stdin.', signal }), 'The key');
}

function sayWhichKey(error: unknown): never {
  if (error instanceof ApiError && error.status === 401)
    throw new CommandError(
      'The controller does not know this key, or the key was revoked or has expired. Nothing was stored. Ask an admin for a new key.',
    );
  throw error;
}

const SCOPES: Record<Me['scope'], string> = {
  admin: 'run the farm, and request builds; but its builds get no stored secrets, and it sets none',
  submit: 'request, cancel and retry builds, and read their logs and artifacts',
  read: 'list and show builds, without logs and artifacts',
  worker: 'work on builds',
};

const GRANTS: Record<Grant, string> = {
  'secrets.use': 'have stored secrets in its builds',
  'secrets.set': 'set stored secrets',
  numbers: 'set build numbers',
  stores: 'submit to stores',
  links: 'make install links',
  webhooks: 'set webhooks',
  'caches.write': 'write caches in its builds',
  keep: 'have the VM of a failed build kept',
  admin: 'make, rotate and revoke keys of its projects',
};

function textOf({ url, me, projects, path }: { url: string; me: Me; projects: Project[]; path: string }): string {
  const { rights } = me;
  const reached = projects.map(({ name }) => name).join(', ') || 'none yet';
  const rows = [
    ['controller', url],
    ['key', `${me.name} (scope ${me.scope})`],
    ['may', [SCOPES[me.scope], ...(rights?.may ?? []).map((grant) => GRANTS[grant])].join('; ')],
    ...(rights?.trusted === false ? [['but', 'only see and make builds of strangers’ source']] : []),
    ['projects', rights?.projects === '*' ? 'all' : reached],
    ['pools', rights && rights.pools !== '*' ? rights.pools.join(', ') || 'none' : 'all'],
    ['expires', me.expiresAt ? moment(me.expiresAt) : 'never'],
  ];
  return `${table(rows, Number.POSITIVE_INFINITY)}\nKept in ${path}, which only your account can read.\n`;
}
