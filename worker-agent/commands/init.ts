/**
 * `expo-worker init`: writes the config, and makes the SSH key for the VMs if there is none. Asks for the
 * settings that the options leave open.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { Command, Option } from 'commander';
import { execa } from 'execa';
import { printableLines } from '../../client/printable.ts';
import { Connection } from '../../client/request.ts';
import { WorkerClient } from '../../client/worker-client.ts';
import {
  type AgentConfig,
  type AgentConfigInput,
  baseImageName,
  defaultConfigPath,
  expandHome,
  parseConfig,
  saveConfig,
} from '../config.ts';
import { ConfigError } from '../config-findings.ts';
import { EXIT } from '../exit-codes.ts';
import { checkPrivateKey } from '../guest/ssh.ts';

const KEYGEN_TIMEOUT_MS = 30_000;
const API_KEY_VARIABLE = 'EXPO_WORKER_API_KEY';
/** Stands for the key in a config that is checked before its code is traded for the key. */
const PLACEHOLDER_KEY = 'not-traded-yet';
const DEFAULT_KEY_PATH = '~/.ssh/tart_vm_key';

export interface InitAnswers {
  /** Absent if the former config has `images`, which name their VMs. */
  vmName?: string;
  vmUser: string;
  vmSshKey: string;
  controllerUrl: string;
  /** The key of this worker, or a code that is traded for the key. */
  apiKey?: string;
  code?: string | undefined;
}

type InitOptions = Partial<InitAnswers> & { config: string; controller?: string; force?: boolean };

/** Tells the user what to put right. The config was not written. */
export class InitError extends Error {
  override name = 'InitError';
}

export function initCommand(exitWith: (exitCode: number) => void): Command {
  return new Command('init')
    .description('write the config of this worker, and make an SSH key for its VMs')
    .option('--config <path>', 'config file', defaultConfigPath())
    .option('--vm-name <name>', 'VM that the base image is made from; clones are made from <name>-base-snapshot')
    .option('--vm-user <name>', 'account in the VM')
    .option('--vm-ssh-key <path>', `private key for the VM, made if absent (usually ${DEFAULT_KEY_PATH})`)
    .option('--controller-url <url>', 'address of the controller')
    .addOption(new Option('--controller <url>', 'the same').conflicts('controllerUrl'))
    .option(
      '--code <code>',
      'one-time enrolment code, which is traded for the key of this worker; "-" reads it from standard input',
    )
    .option('--api-key <key>', `key of this worker; "-" reads it from standard input; else $${API_KEY_VARIABLE}`)
    .option('--force', 'overwrite an existing config; its other settings are kept')
    .action(async ({ controller, ...options }: InitOptions) => {
      options.controllerUrl ??= controller;
      try {
        const configPath = expandHome(options.config);
        refuseOverwrite(configPath, options.force);
        const answers = await askFor(options, await formerSettings(configPath));
        process.stdout.write(await initWorker({ configPath, answers, force: options.force }));
      } catch (error) {
        if ((error as Error).name === 'ExitPromptError') return exitWith(EXIT.interrupted);
        if (!(error instanceof InitError || error instanceof ConfigError)) throw error;
        process.stderr.write(`${printableLines(error.message)}\n`);
        exitWith(EXIT.failure);
      }
    });
}

/** Returns the text for the user. When it throws InitError or ConfigError, the config was not written. */
export async function initWorker(options: {
  configPath: string;
  answers: InitAnswers;
  force?: boolean | undefined;
}): Promise<string> {
  const { configPath, answers, force } = options;
  refuseOverwrite(configPath, force);
  const keyPath = expandHome(answers.vmSshKey);
  // The VM runs builds of strangers, and its image may be replaced. So the key must open nothing else.
  if (dirname(keyPath) === join(homedir(), '.ssh') && /^id_/.test(basename(keyPath)))
    throw new InitError(
      `${answers.vmSshKey} is a personal key. Name another file, such as ${DEFAULT_KEY_PATH}. It will be made.`,
    );
  const { code, apiKey = PLACEHOLDER_KEY, ...rest } = answers;
  const former = await formerSettings(configPath);
  if (hasImages(former) && rest.vmName !== undefined)
    throw new InitError(`--vm-name: ${configPath} has images, which name their VMs. Leave it out, or edit the images.`);
  const config: AgentConfigInput = { ...former, ...rest, apiKey };
  const keyExists = existsSync(keyPath);
  if (keyExists) await refuseUnusable(keyPath);
  parseConfig(JSON.stringify(config), configPath);
  if (!keyExists) await makeKey(keyPath);
  // Last, because a code works only once. Everything else that could be wrong has been checked by now.
  if (code !== undefined) config.apiKey = await tradeCode(config.controllerUrl, code);
  const saved = saveConfig(configPath, config);
  return nextSteps(saved, { configPath, keyPath, keyExists });
}

function nextSteps(
  saved: AgentConfig,
  { configPath, keyPath, keyExists }: { configPath: string; keyPath: string; keyExists: boolean },
): string {
  const [image, ...others] = saved.images;
  const base = baseImageName(image);
  const make =
    others.length > 0
      ? `  1. Make each image, with this key in it:
${saved.images.map(({ name }) => `       expo-worker base-image --image ${name} --from SOURCE`).join('\n')}`
      : `  1. Make the base image ${base}, with this key in it:
       expo-worker base-image
     Or, from a VM that you have set up yourself: put the key into it while it runs,
       ssh-copy-id -i ${keyPath}.pub ${saved.vmUser}@$(tart ip ${image.vmName})
     then shut it down in its own menu, and clone it:
       tart clone ${image.vmName} ${base}`;
  return `Written: ${configPath}
${keyExists ? 'SSH key:' : 'New SSH key:'} ${keyPath}

Next:
${make}
  2. Check everything:
       expo-worker doctor
  3. Have launchd run the agent:
       sudo expo-worker install
`;
}

function refuseOverwrite(configPath: string, force: boolean | undefined): void {
  if (!force && existsSync(configPath))
    throw new InitError(
      `${configPath} exists. Edit it, or write it again with --force, which keeps its other settings.`,
    );
}

async function formerSettings(configPath: string): Promise<Partial<AgentConfigInput>> {
  try {
    return Object(JSON.parse(await readFile(configPath, 'utf8')));
  } catch {
    return {}; // there is none, or it is broken: `--force` is for that
  }
}

/** A broken config may have anything here. */
const hasImages = ({ images }: Partial<AgentConfigInput>): boolean => Array.isArray(images);

async function refuseUnusable(keyPath: string): Promise<void> {
  const { mode } = await stat(keyPath);
  if (mode & 0o077) throw new InitError(`${keyPath} can be read by others. Run: chmod 600 ${keyPath}`);
  const problem = checkPrivateKey(await readFile(keyPath));
  if (problem) throw new InitError(`${keyPath} cannot be used: ${problem}`);
}

async function makeKey(keyPath: string): Promise<void> {
  await mkdir(dirname(keyPath), { recursive: true, mode: 0o700 });
  const args = ['-q', '-t', 'ed25519', '-N', '', '-C', 'tartbeat worker', '-f', keyPath];
  const { exitCode, stderr, code } = await execa('ssh-keygen', args, {
    reject: false,
    stdin: 'ignore',
    timeout: KEYGEN_TIMEOUT_MS,
  });
  if (exitCode !== 0) throw new InitError(`ssh-keygen could not make ${keyPath}: ${stderr || code}`);
}

async function tradeCode(url: string, code: string): Promise<string> {
  const enrolled = await new WorkerClient(new Connection({ url, key: 'none' })).enrol(code);
  if (enrolled.ok) return enrolled.value.key;
  throw new InitError(`${url} did not take the code: ${enrolled.message}`);
}

async function askFor(given: Partial<InitAnswers>, former: Partial<AgentConfigInput>): Promise<InitAnswers> {
  const code = given.code === '-' ? (await text(process.stdin)).trim() : given.code;
  const apiKey =
    given.apiKey === '-' ? (await text(process.stdin)).trim() : (given.apiKey ?? process.env[API_KEY_VARIABLE]);
  const known = { ...given, apiKey };
  const needless = [...(code === undefined ? [] : ['apiKey']), ...(hasImages(former) ? ['vmName'] : [])];
  const open = QUESTIONS.filter(({ key }) => known[key] === undefined && !needless.includes(key));
  if (open.length > 0 && !process.stdin.isTTY)
    throw new InitError(
      `Standard input is no terminal, so init cannot ask. Give these as well: ${open.map(({ flag }) => flag).join(', ')}.`,
    );
  const answers: Partial<InitAnswers> = { ...known };
  const prompts = open.length > 0 ? await import('@inquirer/prompts') : null; // it takes long to load
  for (const { key, ask, usual } of open) answers[key] = await ask(prompts!, proposalOf(former, key) ?? usual);
  const { vmName, vmUser, vmSshKey, controllerUrl } = answers as InitAnswers;
  const credential = code === undefined ? { apiKey: answers.apiKey! } : { code };
  return { ...(vmName !== undefined && { vmName }), vmUser, vmSshKey, controllerUrl, ...credential };
}

type Prompts = typeof import('@inquirer/prompts');

interface Question {
  key: keyof InitAnswers;
  flag: string;
  /** The proposal on a Mac that has no config yet. */
  usual?: string;
  ask: (prompts: Prompts, proposed: string | undefined) => Promise<string>;
}

const QUESTIONS: readonly Question[] = [
  {
    key: 'vmName',
    flag: '--vm-name',
    usual: 'expo-build-vm',
    ask: asking('Name for the VM of the base image (`expo-worker base-image` makes it)'),
  },
  { key: 'vmUser', flag: '--vm-user', usual: 'admin', ask: asking('Account in the VM') },
  {
    key: 'vmSshKey',
    flag: '--vm-ssh-key',
    usual: DEFAULT_KEY_PATH,
    ask: asking('Private key for the VM (made if absent)'),
  },
  { key: 'controllerUrl', flag: '--controller-url', ask: asking('Controller') },
  {
    key: 'apiKey',
    flag: `one of --code, --api-key and $${API_KEY_VARIABLE}`,
    ask: ({ password }) => password({ message: "This worker's key", mask: true }),
  },
];

function asking(message: string): Question['ask'] {
  return ({ input }, proposed) =>
    input({ message, required: true, ...(proposed !== undefined && { default: proposed }) });
}

/** The value in the present config, which init proposes with --force. */
function proposalOf(former: Partial<AgentConfigInput>, key: keyof InitAnswers): string | undefined {
  const value = key === 'code' ? undefined : former[key];
  return typeof value === 'string' ? value : undefined;
}
