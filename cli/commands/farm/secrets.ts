/**
 * `expo-build secrets`: sets, lists and removes the stored secrets of a project.
 *
 * Invariant: a value comes from standard input, from a prompt that does not show it, or from a file. It is
 * never an argument, and never printed.
 */
import { open } from 'node:fs/promises';
import { Command } from 'commander';
import { SECRET_FILE_MAX_BYTES, SecretName, type SecretRequest, VARIABLE_VALUE_MAX, wordsOf } from '#contract';
import { printable } from '../../../client/printable.ts';
import { ProjectClient } from '../../../client/project-client.ts';
import { CommandError } from '../../command-error.ts';
import { askSecret, readPipedLine } from '../../input.ts';
import type { Interrupts } from '../../interrupts.ts';
import { printJson } from '../../json-lines/json-lines.ts';
import { connect } from '../../settings.ts';
import { ago, columnsOf, table } from '../../words.ts';
import { PROJECT_OPTION, projectOf } from '../project-option.ts';

interface SecretsOptions {
  project?: string;
  json: boolean;
}

type ListOptions = SecretsOptions & { pool?: string };
type SetOptions = SecretsOptions & { file?: string; path?: string; pool: string[] };

const several = (value: string, before: string[]) => [...before, value];

export function secretsCommand(interrupts: Interrupts): Command {
  return new Command('secrets')
    .description('set, list and remove the stored secrets of a project')
    .addHelpText('after', HELP)
    .addCommand(
      new Command('set')
        .description('store a variable or a file for the builds of a project')
        .argument('<name>', 'name of the variable; of a file, its name in the list')
        .option('--file <path>', 'a file of this disk, instead of the value of a variable')
        .option('--path <path>', 'where the build finds the file, from the root of its source')
        .option('--pool <name>', 'for builds of this pool; may be given again; else of all trusted pools', several, [])
        .option(...PROJECT_OPTION)
        .option('--json', 'print one JSON object on each line', false)
        .addHelpText('after', SET_HELP)
        .action((name: string, options: SetOptions) => setSecret(name, options, interrupts.signal)),
    )
    .addCommand(
      new Command('list')
        .description('list names, pools and versions; a value is never shown again')
        .option('--pool <name>', 'of this pool alone')
        .option(...PROJECT_OPTION)
        .option('--json', 'print one JSON object on each line', false)
        .addHelpText('after', '\nExample:\n  expo-build secrets list --project shop')
        .action((options: ListOptions) => listSecrets(options, interrupts.signal)),
    )
    .addCommand(
      new Command('rm')
        .description('remove a secret')
        .argument('<name>')
        .option('--pool <name>', 'from this pool alone; else from all that the key reaches')
        .option(...PROJECT_OPTION)
        .option('--json', 'print one JSON object on each line', false)
        .addHelpText('after', '\nExample:\n  expo-build secrets rm SENTRY_AUTH_TOKEN --pool release')
        .action((name: string, options: ListOptions) => removeSecret(name, options, interrupts.signal)),
    );
}

const SET_HELP = `
Examples:
  expo-build secrets set SENTRY_AUTH_TOKEN            asks for the value and does not show it
  expo-build secrets set SENTRY_AUTH_TOKEN < token    one line break at the end is left out
  expo-build secrets set PLAY_SERVICES --file google-services.json --path apps/shop/google-services.json`;

const HELP = `${SET_HELP}
  expo-build secrets list
  expo-build secrets rm SENTRY_AUTH_TOKEN

To set and remove, the key needs the right secrets.set.`;

async function setSecret(name: string, options: SetOptions, signal: AbortSignal): Promise<void> {
  const { file, path, pool, json } = options;
  const known = SecretName.safeParse(name);
  if (!known.success) throw new CommandError(`${name}: ${wordsOf(known.error.issues[0]!)}.`);
  if ((file === undefined) !== (path === undefined))
    throw new CommandError(
      '--file and --path go together: the file of this disk, and where the build finds it from the root of its source.',
    );
  const client = new ProjectClient(await connect(signal));
  const project = await projectOf(client, options.project);
  const content: SecretRequest =
    file === undefined ? { value: await readValue(name, signal) } : { file: await readBase64(file), path };
  const set = await client.setSecret(project, name, { ...content, ...(pool.length > 0 && { pools: pool }) });
  if (json) {
    for (const secret of set) printJson({ type: 'secret', project, secret });
    return;
  }
  const rows = set.map((one) => [name, `version ${one.version}`, `pool ${one.pool}`]);
  process.stdout.write(table(rows, columnsOf(process.stdout)));
}

/** A character has at most 4 bytes. */
const VALUE_MAX_BYTES = 4 * VARIABLE_VALUE_MAX;
const SEND_AS_FILE = 'Give `--file` and `--path`, which bring bytes as they are.';

async function readValue(name: string, signal: AbortSignal): Promise<string> {
  const value = process.stdin.isTTY
    ? await askSecret({ message: `Value of ${name}`, otherwise: '', signal })
    : await readPipedLine({ flag: 'secrets set', otherwise: SEND_AS_FILE, maxBytes: VALUE_MAX_BYTES, signal });
  if (value === '')
    throw new CommandError(`${name}: no value came. Nothing was set. Send the value on standard input.`);
  return value;
}

async function readBase64(path: string): Promise<string> {
  try {
    await using file = await open(path, 'r');
    const stats = await file.stat();
    const { size } = stats;
    if (!stats.isFile()) throw new CommandError(`--file: ${path} is no file. Name a file.`);
    if (size > SECRET_FILE_MAX_BYTES)
      throw new CommandError(
        `--file: ${path} has ${size} bytes, but at most ${SECRET_FILE_MAX_BYTES} are taken. Give a smaller file.`,
      );
    return (await file.readFile()).toString('base64');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new CommandError(`--file: there is no file ${path}. Correct the path.`);
    throw error instanceof CommandError ? error : new CommandError(`--file: ${(error as Error).message}`);
  }
}

async function listSecrets({ project: named, pool, json }: ListOptions, signal: AbortSignal): Promise<void> {
  const client = new ProjectClient(await connect(signal));
  const project = await projectOf(client, named);
  const secrets = await client.secrets(project, pool);
  if (json) {
    for (const secret of secrets) printJson({ type: 'secret', project, secret });
    return;
  }
  if (secrets.length === 0) return void process.stdout.write(`Project ${printable(project)} has no stored secrets.\n`);
  const now = Date.now();
  const rows = secrets.map(({ name, path, pool, version, setBy, setAt, usedAt }) => [
    ...[name, path ?? 'variable', pool, String(version)],
    ...[ago(setAt, now), usedAt ? ago(usedAt, now) : 'never', setBy.name ?? setBy.keyId],
  ]);
  const head = ['NAME', 'PATH', 'POOL', 'VERSION', 'SET', 'USED', 'SET BY'];
  process.stdout.write(table([head, ...rows], columnsOf(process.stdout)));
}

async function removeSecret(name: string, options: ListOptions, signal: AbortSignal): Promise<void> {
  const client = new ProjectClient(await connect(signal));
  const project = await projectOf(client, options.project);
  const removed = await client.removeSecret(project, name, options.pool);
  if (options.json) {
    for (const secret of removed) printJson({ type: 'secret_removed', project, secret });
    return;
  }
  for (const one of removed) process.stdout.write(table([['removed', one.name, `pool ${one.pool}`]], 1_000));
}
