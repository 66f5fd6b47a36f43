/**
 * Does the work of an attempt, step by step: plan, boot, checks, monitor, first VM beat, source, command,
 * log, artifacts. After a restart of the agent it goes on at the journalled phase.
 *
 * Invariant: each step is safe to repeat or finds that it was done, so that a crash between a step and its
 * journal entry costs nothing. The command starts only after a beat of the VM has been accepted.
 */
import type { Inputs } from '#contract';
import { AttemptOver, type Ending, failed } from '../ending.ts';
import { PROFILE_GLOB } from '../expo/profile-artifacts.ts';
import type { Guest } from '../guest/session.ts';
import { SshError } from '../guest/ssh-error.ts';
import { BaselineLooks } from '../steps/baseline.ts';
import { type Booted, boot, requireImage } from '../steps/boot.ts';
import { type Collected, collect } from '../steps/collect.ts';
import { askInputs, findCommand, startCommand } from '../steps/command.ts';
import type { AttemptContext } from '../steps/context.ts';
import { type BuildLog, followLog, openLog } from '../steps/follow.ts';
import { type Groundwork, layGroundwork, secretTextsOf } from '../steps/groundwork.ts';
import { resumeScripts } from '../steps/guest-scripts.ts';
import { beginMonitor, firstHeartbeat, keepMonitorAlive } from '../steps/monitor.ts';
import { handOverNumber } from '../steps/number.ts';
import { checkVm } from '../steps/run-vm-checks.ts';
import { fetchSource, sendSource } from '../steps/source.ts';
import { step } from '../steps/step.ts';
import type { Vm } from '../vm/vm.ts';

/** The VM and the log that an attempt has by the time it ends. */
export interface Reached {
  vm: Vm | null;
  log: BuildLog | null;
}

/** Never rejects, because every error becomes an Ending. */
export async function work(context: AttemptContext): Promise<{ ending: Ending; reached: Reached }> {
  const reached: Reached = { vm: null, log: null };
  try {
    return { ending: await doSteps(context, reached), reached };
  } catch (error) {
    const ending = endingOfError(context, error);
    // This also ends work that still runs beside the failed step, such as the download of the source.
    context.end(new AttemptOver(ending));
    return { ending, reached };
  }
}

async function doSteps(context: AttemptContext, reached: Reached): Promise<Ending> {
  const { journal } = context;
  requireImage(context);
  // Fetched while the VM boots, because both take their time. A bad archive ends the attempt at once. The
  // plan of a profile comes first, because it needs the source, and most mistakes show in it.
  const source = journal.reached('command_started') ? null : fetchSource(context);
  source?.catch((error) => context.end(asOver(error)));
  const groundwork = source && (await layGroundwork(context, source));
  const booted = await boot(context);
  reached.vm = booted.vm;
  await journal.update({ phase: 'booted' });
  await resumeScripts(context, booted);
  const started = source && (await prepare(context, booted, { ...groundwork!, source }));
  if (!journal.reached('command_ended')) {
    const inputs = started ?? groundwork?.inputs ?? (await askInputs(context));
    const secretTexts = await secretTextsOf(context, inputs, groundwork?.plan ?? null);
    reached.log = await openLog(context, booted, inputs, secretTexts);
    await follow(context, booted.guest, reached.log);
  }
  return endingOf(journal.state.exitCode, await collect(context, booted.guest));
}

/** Does the steps up to the start of the command. Returns its inputs, or null if it was started before. */
async function prepare(
  context: AttemptContext,
  booted: Booted,
  { source, ...groundwork }: Groundwork & { source: Promise<void> },
): Promise<Inputs | null> {
  const { journal } = context;
  const { vm, guest } = booted;
  if (await findCommand(context, guest)) return null;
  context.enter('checking');
  await checkVm(context, vm);
  await journal.update({ phase: 'checked', scripts: vm.scripts.version });
  await step(context, 'monitor', () => beginMonitor(context, guest));
  await journal.update({ phase: 'monitor_started' });
  using _keeper = keepMonitorAlive(context, guest);
  const baseline = new BaselineLooks(context, vm);
  await Promise.all([step(context, 'first_heartbeat', () => firstHeartbeat(context, guest)), baseline.look()]);
  await step(context, 'source', async () => {
    await Promise.all([source, baseline.look()]);
    await sendSource(context, guest, { keep: (groundwork.plan?.secretTexts.length ?? 0) > 0 });
  });
  await baseline.look();
  await baseline.note();
  // Known since the VM has passed its checks.
  const scriptsVersion = vm.scripts.version!;
  return await step(context, 'command', async () => {
    const inputs = groundwork.inputs ?? (await askInputs(context));
    await startCommand(context, guest, { ...groundwork, inputs, scriptsVersion });
    return inputs;
  });
}

async function follow(context: AttemptContext, guest: Guest, log: BuildLog): Promise<void> {
  using _keeper = keepMonitorAlive(context, guest);
  using _number = handOverNumber(context, guest);
  await followLog(context, log);
}

/** The ending of a build whose command has ended by itself. */
function endingOf(exitCode: number | null, { stored, missing }: Collected): Ending {
  if (exitCode !== 0) {
    const message =
      exitCode === null ? 'the command vanished without an exit code' : `the command ended with exit code ${exitCode}`;
    return { kind: 'failed', verdict: 'build_failed', message, exitCode: exitCode ?? undefined, artifacts: stored };
  }
  if (missing.length === 0) return { kind: 'succeeded', artifacts: stored };
  const left = missing.filter((glob) => glob !== PROFILE_GLOB.glob);
  const message = left.length > 0 ? `no file matches ${left.join(', ')}` : 'the engine has succeeded and left no app';
  return { kind: 'failed', verdict: 'artifact_missing', message, exitCode, artifacts: stored };
}

function endingOfError({ signal }: AttemptContext, error: unknown): Ending {
  if (signal.aborted) return (signal.reason as AttemptOver).ending;
  if (error instanceof AttemptOver) return error.ending;
  if (error instanceof SshError)
    return { kind: 'failed', verdict: 'transfer_failed', step: 'ssh', message: error.message };
  // A bug of the agent must not hold the Mac, and must not look like the user's fault.
  const message = `the agent failed: ${(error as Error).stack ?? error}`;
  return { kind: 'failed', verdict: 'transfer_failed', step: 'agent', message };
}

const asOver = (error: unknown): AttemptOver =>
  error instanceof AttemptOver ? error : failed('transfer_failed', 'source', (error as Error).message);
