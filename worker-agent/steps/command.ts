/**
 * Starts the command of the build in the VM.
 *
 * Invariant: the command is never started twice, and the controller hears of it before it starts. After a
 * crash of the agent between the start and its journal entry, the VM tells whether the command was started.
 */
import type { Inputs } from '#contract';
import { parseBuildStatus } from '../guest/answers.ts';
import { buildStatus, startBuild, writeSecretFile } from '../guest/commands.ts';
import { expectSuccess, type Guest } from '../guest/session.ts';
import { GUEST_COMMAND_MS } from '../time-limits.ts';
import type { AttemptContext } from './context.ts';
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

/** Returns what the build was given, so that it can be masked in the log. Rejects with AttemptOver. */
export async function startCommand(context: AttemptContext, guest: Guest): Promise<Inputs> {
  const { journal, client, key, signal } = context;
  const inputs = await askInputs(context);
  for (const [name, content] of Object.entries(inputs.secretFiles ?? {})) {
    const write = writeSecretFile({ ...key, path: name, content: Buffer.from(content, 'base64') });
    await expectSuccess('inputs', guest.exec(write, EXEC));
  }
  await ask(context, 'report', () => client.report(key.buildId, { type: 'start', attempt: key.attempt }, signal));
  const { command } = journal.state.assignment;
  await expectSuccess('command', guest.exec(startBuild({ ...key, command, env: inputs.env }), EXEC));
  await journal.update({ phase: 'command_started', commandStartedAtMs: Date.now() });
  return inputs;
}

/** Asked for again after a restart of the agent: inputs are secret, so they are not kept on this disk. */
export const askInputs = (context: AttemptContext): Promise<Inputs> =>
  ask(context, 'inputs', () => context.client.inputs(context.key.buildId, context.signal));
