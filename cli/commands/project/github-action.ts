/**
 * `expo-build github-action`: runs `submit` with the inputs of the action, and tells the job of GitHub
 * Actions how the builds ended. action.yml starts it.
 */
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { renderUnicodeCompact } from 'uqr';
import type { BuildsClient } from '../../../client/builds-client.ts';
import { ProjectClient } from '../../../client/project-client.ts';
import { CommandEnd, CommandError } from '../../command-error.ts';
import { writeCommands } from '../../github-actions/guard-output.ts';
import {
  type EndedBuild,
  reportEnded,
  reportFault,
  reportSkipped,
  reportSubmitted,
} from '../../github-actions/job-report.ts';
import { workflowCommand } from '../../github-actions/workflow-commands.ts';
import type { Interrupts } from '../../interrupts.ts';
import { isOfFork } from '../../submit/github-event.ts';
import { type Submitted, submitCommand } from './submit.ts';

export function githubActionCommand(interrupts: Interrupts): Command {
  return new Command('github-action')
    .description('what the action of GitHub Actions runs')
    .action(async (_: object, command: Command) => {
      try {
        await runAction(interrupts, command);
      } catch (error) {
        if (!(error instanceof CommandEnd))
          reportFault(interrupts.signal.aborted ? 'stopped' : (error as Error).message);
        throw error;
      }
    });
}

async function runAction(interrupts: Interrupts, command: Command): Promise<void> {
  const { env } = process;
  if (env.GITHUB_ACTIONS !== 'true')
    throw new CommandError('This command is for jobs of GitHub Actions. Elsewhere run `expo-build submit`.');
  if (!env.EXPO_BUILD_KEY) {
    const ofFork = isOfFork(env, (path) => readFileSync(path, 'utf8'));
    const why = whyWithoutKey(ofFork, env.GITHUB_ACTOR);
    if (why === null) throw new CommandError('The input key is empty. Give it a secret that this repository has.');
    return reportSkipped(why);
  }
  writeCommands(process.stdout, [workflowCommand('add-mask', env.EXPO_BUILD_KEY)]);
  // Artifacts get a folder of their own, so that no file of the checkout counts as an artifact.
  const folder = join(mkdtempSync(join(env.RUNNER_TEMP ?? tmpdir(), 'expo-build-')), 'artifacts');
  const inputs = inputsIn(env);
  let submitted: Submitted | null = null;
  const submit = submitCommand(interrupts, (builds) => {
    submitted = builds;
    reportSubmitted(builds.builds);
  }).copyInheritedSettings(command);
  try {
    await submit.parseAsync([`--to=${folder}`, ...inputs.flags], { from: 'user' });
  } finally {
    if (submitted) await report(submitted, filesBelow(submit.opts().to), inputs.installLink);
  }
}

/** GitHub gives no secrets to jobs that strangers start. Null: a stranger did not start this job. */
function whyWithoutKey(ofFork: boolean, actor: string | undefined): string | null {
  const which = ofFork ? 'a pull request from a fork' : actor === 'dependabot[bot]' ? 'Dependabot' : null;
  return (
    which && `Nothing is built: this job is of ${which}, so GitHub gives it no key. docs/github-actions.md says more.`
  );
}

interface Inputs {
  /** Flags of `expo-build submit` and their values. */
  flags: string[];
  installLink: boolean;
}

function inputsIn(env: NodeJS.ProcessEnv): Inputs {
  const input = (name: string) => env[`INPUT_${name.toUpperCase().replaceAll('-', '_')}`]?.trim() ?? '';
  const isOn = (name: string, otherwise: boolean) => {
    const value = input(name);
    if (value !== '' && value !== 'true' && value !== 'false')
      throw new CommandError(`The input ${name} is ${value}. Give true or false.`);
    return value === '' ? otherwise : value === 'true';
  };
  const named = ['platform', 'project', 'profile'].filter((name) => input(name) !== '');
  const flags = [
    ...named.map((name) => `--${name}=${input(name)}`),
    ...linesOf(input('artifacts')).map((glob) => `--artifact=${glob}`),
    ...(isOn('upload', false) ? ['--upload'] : []),
    ...(isOn('wait', true) ? [] : ['--no-wait']),
    ...linesOf(input('args')).map(optionOf),
  ];
  return { flags, installLink: isOn('install-link', false) };
}

const linesOf = (text: string): string[] =>
  text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter(Boolean);

/** One line of `args`: an option, and after the first space its value, which may have spaces. */
function optionOf(line: string): string {
  const [, name, value] = /^(--[a-z][a-z-]*)(?:[ =]\s*(.*))?$/.exec(line) ?? [];
  if (name === undefined || name === '--json')
    throw new CommandError(
      `The input args has the line ${line}. Write one option of \`expo-build submit\` a line, such as --group release. --json is not for the action.`,
    );
  return value === undefined ? name : `${name}=${value}`;
}

/** If the controller does not answer now, the exit code must still say how the builds ended. */
async function report({ client, builds }: Submitted, files: string[], installLink: boolean): Promise<void> {
  try {
    const ended = await Promise.all(
      builds.map(async ({ build: { id }, address }) => {
        const build = await client.build(id);
        const install = installLink && build.status === 'succeeded' ? await installPage(client, id) : null;
        return { build, address, install };
      }),
    );
    reportEnded(ended, files);
  } catch (error) {
    reportFault(`The summary is missing: ${(error as Error).message}`);
  }
}

async function installPage({ connection }: BuildsClient, buildId: string): Promise<EndedBuild['install']> {
  try {
    const { url } = await new ProjectClient(connection).createLink(buildId, {});
    return { url, qrLines: renderUnicodeCompact(url, { border: 2 }).split('\n') };
  } catch (error) {
    reportFault(`Build ${buildId} has no install page: ${(error as Error).message}`);
    return null;
  }
}

function filesBelow(folder: string): string[] {
  try {
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  } catch {
    return [];
  }
}
