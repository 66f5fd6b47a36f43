/**
 * Starts the command of the build in the VM.
 *
 * Invariant: the command is never started twice, and the controller gets the `start` report first. After a
 * crash of the agent between the start and its journal entry, the VM tells whether the command was started.
 */
import type { Inputs } from '#contract';
import type { BuildPlan } from '../../client/plan/plan.ts';
import { failed } from '../ending.ts';
import { buildScript } from '../expo/build-script.ts';
import { PLACE_TAKEN, parseBuildStatus } from '../guest/answers.ts';
import { buildStatus, startBuild, writeSecretFile } from '../guest/commands.ts';
import { expectAnswer, expectSuccess, type Guest, howEnded } from '../guest/session.ts';
import { GUEST_COMMAND_MS } from '../time-limits.ts';
import type { AttemptContext } from './context.ts';
import { originVariables } from './origin-variables.ts';
import { ask } from './step.ts';

const EXEC = { timeoutMs: GUEST_COMMAND_MS };

/** Whether the VM has started a command that the journal does not know of. If so, updates the journal. */
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
  /** The version of the guest scripts in the VM. */
  scriptsVersion: string;
}

/** Rejects with AttemptOver. */
export async function startCommand(context: AttemptContext, guest: Guest, start: CommandStart): Promise<void> {
  const { journal, client, key, signal } = context;
  const { plan } = start;
  for (const [path, content] of Object.entries(start.inputs.secretFiles ?? {}))
    await laySecretFile(context, guest, path, Buffer.from(content, 'base64'));
  await ask(context, 'report', () => client.report(key.buildId, { type: 'start', attempt: key.attempt }, signal));
  // Before the start, because an agent that finds the command started must know that the build asks.
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

async function laySecretFile({ key }: AttemptContext, guest: Guest, path: string, content: Buffer): Promise<void> {
  const written = await expectAnswer('inputs', guest.exec(writeSecretFile({ ...key, path, content }), EXEC));
  if (written.exitCode === 0) return;
  if (written.exitCode !== PLACE_TAKEN) throw failed('transfer_failed', 'inputs', howEnded(written));
  const why = 'has a folder at that place, or a file or a link where a folder must be';
  throw failed('project_invalid', 'project', `The secret file ${path} cannot be laid into the source, which ${why}.`);
}

/** The agent asks again after a restart, because inputs are secret and not kept on this disk. */
export const askInputs = (context: AttemptContext): Promise<Inputs> =>
  ask(context, 'inputs', () => context.client.inputs(context.key.buildId, context.signal));
