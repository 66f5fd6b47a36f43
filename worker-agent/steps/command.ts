/**
 * Starts the command of the build in the VM.
 *
 * Invariant: the command is never started twice, and the controller hears of it before it starts. After a
 * crash of the agent between the start and its journal entry, the VM tells whether the command was started.
 */
import type { Inputs } from '#contract';
import { failed } from '../ending.ts';
import { buildScript } from '../expo/build-script.ts';
import type { BuildPlan } from '../expo/plan.ts';
import { PLACE_TAKEN, parseBuildStatus } from '../guest/answers.ts';
import { ARGUMENT_KINDS } from '../guest/arguments.ts';
import { buildStatus, startBuild, writeSecretFile } from '../guest/commands.ts';
import { laysFiles } from '../guest/scripts.ts';
import { expectAnswer, expectSuccess, type Guest, howEnded } from '../guest/session.ts';
import { GUEST_COMMAND_MS } from '../time-limits.ts';
import type { AttemptContext } from './context.ts';
import { originVariables } from './origin-variables.ts';
import { ask } from './step.ts';

const EXEC = { timeoutMs: GUEST_COMMAND_MS };

/** Whether the VM knows of the command although the journal does not. Then the journal knows it too. */
export async function findCommand({ journal, key }: AttemptContext, guest: Guest): Promise<boolean> {
  if (!journal.reached('monitor_started')) return false;
  const { stdout } = await expectSuccess('command', guest.exec(buildStatus(key), EXEC));
  const status = parseBuildStatus(stdout.toString('latin1'));
  if (!status || status.state === 'not_started') return false;
  await journal.update({ phase: 'command_started', commandStartedAtMs: Date.now() });
  return true;
}

export interface CommandStart {
  inputs: Inputs;
  /** Null for a build with a command. */
  plan: BuildPlan | null;
  number: number | null;
  /** The guest scripts of the VM. */
  scriptsVersion: string;
}

/** Rejects with AttemptOver. */
export async function startCommand(context: AttemptContext, guest: Guest, start: CommandStart): Promise<void> {
  const { journal, client, key, signal } = context;
  const { plan } = start;
  checkScripts(context, start);
  for (const [path, content] of Object.entries(start.inputs.secretFiles ?? {}))
    await laySecretFile(context, guest, path, Buffer.from(content, 'base64'));
  await ask(context, 'report', () => client.report(key.buildId, { type: 'start', attempt: key.attempt }, signal));
  // Before the start: whoever finds the command started must know that it asks.
  if (plan?.number.asked === 'in the VM') await journal.update({ asksNumber: { increment: plan.number.increment } });
  await expectSuccess('command', guest.exec(startBuild({ ...key, ...scriptOf(context, start) }), EXEC));
  await journal.update({ phase: 'command_started', commandStartedAtMs: Date.now() });
}

function scriptOf(
  { journal }: AttemptContext,
  { inputs, plan, number, scriptsVersion }: CommandStart,
): { command: string; env: Record<string, string> } {
  const { assignment } = journal.state;
  if (plan) return { command: buildScript(plan, number, scriptsVersion), env: {} };
  const env: Record<string, string> = { ...originVariables(assignment), ...inputs.env };
  if (number !== null) env.TARTBEAT_BUILD_NUMBER = String(number);
  return { command: assignment.command, env };
}

/** Scripts of an image with a tied key may be those of the number before. */
function checkScripts({ emit }: AttemptContext, { inputs, plan, scriptsVersion }: CommandStart): void {
  const paths = Object.keys(inputs.secretFiles ?? {});
  if (laysFiles(scriptsVersion) || (!plan && paths.length === 0)) return;
  const image = `The guest scripts of the base image (${scriptsVersion}) are too old`;
  const remake = 'Run `expo-worker base-image --force --restrict-key`, which makes the base image anew.';
  const nested = paths.find((path) => !ARGUMENT_KINDS.secret.test(path));
  if (plan) throw failed('health_check_failed', 'guest_scripts', `${image} to build a profile. ${remake}`);
  if (nested !== undefined)
    throw failed('health_check_failed', 'guest_scripts', `${image} for the secret file ${nested}. ${remake}`);
  emit({ type: 'warning', message: `${image} to lay secret files into the source. ${remake}` });
}

async function laySecretFile({ key }: AttemptContext, guest: Guest, path: string, content: Buffer): Promise<void> {
  const written = await expectAnswer('inputs', guest.exec(writeSecretFile({ ...key, path, content }), EXEC));
  if (written.exitCode === 0) return;
  if (written.exitCode !== PLACE_TAKEN) throw failed('transfer_failed', 'inputs', howEnded(written));
  const why = 'has a folder at that place, or a file or a link where a folder must be';
  throw failed('project_invalid', 'project', `The secret file ${path} cannot be laid into the source, which ${why}.`);
}

/** Asked for again after a restart of the agent: inputs are secret, so they are not kept on this disk. */
export const askInputs = (context: AttemptContext): Promise<Inputs> =>
  ask(context, 'inputs', () => context.client.inputs(context.key.buildId, context.signal));
