/**
 * The work of an attempt, in order: boot, checks, monitor, first VM beat, source, command, artifacts. After a restart of the agent it goes in
 * again at the journalled phase.
 *
 * Invariant: each step is either safe to repeat or found done already, so that a crash between the deed and its journal entry costs nothing.
 * The command is never started twice, and never before a beat of the VM has been accepted.
 */
import type { Inputs } from '#contract';
import { LogFollower } from '../build-log/follower.ts';
import { needlesOf } from '../build-log/mask.ts';
import { LogProgress } from '../build-log/progress.ts';
import { AttemptOver, type Ending, failed } from '../ending.ts';
import { fetchArtifacts, uploadArtifacts } from '../files/artifact-fetch.ts';
import {
  buildStatus,
  parseBuildStatus,
  removeSecrets,
  startBuild,
  stopMonitor,
  writeSecretFile,
} from '../guest/commands.ts';
import { expectSuccess, Guest } from '../guest/session.ts';
import { bootLimits, sshDeadLimitMs } from '../limits.ts';
import { checkVm } from '../steps/check-vm.ts';
import { type AttemptRun, ask, step } from '../steps/context.ts';
import { beginMonitor, firstHeartbeat, keepMonitorAlive } from '../steps/monitor.ts';
import { fetchSource, sendSource } from '../steps/source.ts';
import { bootVm } from '../vm/boot.ts';
import type { BootProgress } from '../vm/boot-progress.ts';
import { adoptVm, destroyVm, type Vm } from '../vm/vm.ts';

const EXEC_MS = 30_000;

/** Returns the ending that the build came to by itself; everything else is thrown as AttemptOver. */
export async function buildInVm(run: AttemptRun): Promise<Ending> {
  const { journal } = run.context;
  // Meanwhile, since both take their time; a bad archive ends the attempt while the VM still boots.
  const source = journal.reached('command_started') ? null : fetchSource(run);
  source?.catch((error) => run.end(asOver(error)));
  const vm = await reachVm(run);
  const guest = guestOf(run, vm);
  if (!journal.reached('command_started')) await startCommand(run, vm, guest, source!);
  return await finishCommand(run, guest);
}

async function startCommand(run: AttemptRun, vm: Vm, guest: Guest, source: Promise<void>): Promise<void> {
  const { key, signal } = run;
  const { journal } = run.context;
  if (await commandFound(run, guest)) return;
  run.enter('checking');
  await checkVm(run, vm);
  await journal.update({ phase: 'checked' });
  await step(run, 'monitor', () => beginMonitor(run, guest));
  await journal.update({ phase: 'monitor_started' });
  using _keeper = keepMonitorAlive(run, guest);
  await step(run, 'first_heartbeat', () => firstHeartbeat(run, guest));
  await step(run, 'source', async () => {
    await source;
    await sendSource(run, guest);
  });
  await step(run, 'command', async () => {
    const { assignment } = journal.state;
    const { env, secretFiles } = await inputsOf(run);
    for (const [name, content] of Object.entries(secretFiles ?? {})) {
      const write = writeSecretFile({ ...key, name, content: Buffer.from(content, 'base64') });
      await expectSuccess('inputs', guest.exec(write, { timeoutMs: EXEC_MS }));
    }
    await ask(run, 'report', () => run.client.report(key.buildId, { type: 'start', attempt: key.attempt }, signal));
    await expectSuccess(
      'command',
      guest.exec(startBuild({ ...key, command: assignment.command, env }), { timeoutMs: EXEC_MS }),
    );
    await journal.update({ phase: 'command_started', commandStartedAtMs: Date.now() });
  });
}

/** Asked for again after a restart: they are secret, and not kept on this disk. */
async function inputsOf(run: AttemptRun): Promise<Inputs> {
  run.inputs ??= await ask(run, 'inputs', () => run.client.inputs(run.key.buildId, run.signal));
  return run.inputs;
}

/** A crash between the start and its journal entry: the guest knows. */
async function commandFound(run: AttemptRun, guest: Guest): Promise<boolean> {
  const { journal } = run.context;
  if (!journal.reached('monitor_started')) return false;
  const { stdout } = await expectSuccess('command', guest.exec(buildStatus(run.key), { timeoutMs: EXEC_MS }));
  const status = parseBuildStatus(stdout.toString('latin1'));
  if (!status || status.state === 'not_started') return false;
  await journal.update({ phase: 'command_started', commandStartedAtMs: Date.now() });
  return true;
}

async function finishCommand(run: AttemptRun, guest: Guest): Promise<Ending> {
  const { key, signal, shipper } = run;
  const { journal, emit, client, limits } = run.context;
  if (!journal.reached('command_ended')) {
    const { assignment, commandStartedAtMs } = journal.state;
    const { noOutputTimeoutMs } = assignment.timeouts;
    const progress = new LogProgress({ assignment, commandStartedAtMs: commandStartedAtMs ?? Date.now() });
    run.follower = await LogFollower.open({
      guest,
      key,
      path: journal.logPath,
      needles: needlesOf({ ...(await inputsOf(run)), others: [assignment.tokens.vm] }),
      freshMs: Math.min(10_000, (noOutputTimeoutMs ?? 900_000) / 4),
      followers: () => shipper.followers,
      onBytes: (bytes) => progress.push(bytes),
      onGrown: () => shipper.poke(),
    });
    await progress.reread(journal.logPath, run.follower.lengthBytes);
    run.progress = progress;
    run.startShipping();
    run.enter('building');
    using _keeper = keepMonitorAlive(run, guest);
    const { exitCode } = await run.follower.follow(signal);
    await run.follower.finish();
    progress.end();
    await journal.update({ phase: 'command_ended', exitCode });
  }
  run.enter('collecting');
  await guest.exec(removeSecrets(key), { timeoutMs: EXEC_MS });
  const { exitCode, assignment } = journal.state;
  const succeeded = exitCode === 0;
  const globs = assignment.artifactGlobs.filter(({ onFailure }) => succeeded || onFailure);
  const collect = async () => {
    const { artifacts, missing } = await fetchArtifacts({ guest, key, globs, dir: journal.artifactsDir, emit, signal });
    // Now: the attempt's log goes on being shipped, and beats go on, however long it takes.
    const stored = await uploadArtifacts(artifacts, {
      ...{ connection: client.connection, emit, giveUpAfterMs: limits.outageMs, signal },
      uploads: journal.state.uploads,
      onBegun: (sha256, id) => journal.update({ uploads: { ...journal.state.uploads, [sha256]: id } }),
    });
    return { stored, missing };
  };
  const { stored, missing } = await step(run, 'artifacts', collect).catch((error) => {
    // The user's failure is the verdict, even if its artifacts cannot be had.
    if (succeeded || signal.aborted) throw error;
    emit({ type: 'warning', message: `artifacts of the failed build: ${(error as Error).message}` });
    return { stored: [], missing: [] };
  });
  await guest.exec(stopMonitor(key), { timeoutMs: EXEC_MS });
  await journal.update({ phase: 'collected' });
  if (!succeeded) {
    const message =
      exitCode === null ? 'the command vanished without an exit code' : `the command ended with exit code ${exitCode}`;
    return { kind: 'failed', verdict: 'build_failed', message, exitCode: exitCode ?? undefined, artifacts: stored };
  }
  if (missing.length === 0) return { kind: 'succeeded', artifacts: stored };
  const message = `no file matches ${missing.join(', ')}`;
  return { kind: 'failed', verdict: 'artifact_missing', message, exitCode: 0, artifacts: stored };
}

/** Boots a new VM, or finds the one that is there. */
async function reachVm(run: AttemptRun): Promise<Vm> {
  const { tart, config, journal, emit, resumed } = run.context;
  const { vmName, run: tartRun } = journal.state;
  const options = {
    tart,
    config,
    name: vmName,
    runDir: journal.dir,
    limits: bootLimits(journal.state.assignment.timeouts),
    signal: run.signal,
    onStep: (progress: BootProgress) => emit({ type: 'step', ...progress }),
  };
  const adopting = journal.reached('booted') && tartRun !== null;
  if (!adopting) {
    run.enter('booting');
    // Nothing has been built in what an earlier try of this same attempt may have left.
    const removed = resumed
      ? await destroyVm({ tart, name: vmName, run: tartRun ?? undefined, signal: run.signal })
      : { ok: true as const };
    run.signal.throwIfAborted();
    if (!removed.ok) throw failed('vm_start_failed', 'delete', removed.message);
  }
  const result = adopting
    ? await adoptVm({ ...options, run: tartRun })
    : await bootVm({ ...options, onRun: (started) => journal.update({ run: started }) });
  if (!result.ok) {
    // A VM that was reached before has passed its checks: it is the connection that has failed.
    if (adopting && result.verdict === 'health_check_failed') throw failed('transfer_failed', 'ssh', result.message);
    throw failed(result.verdict, result.step, result.message);
  }
  const { vm } = result;
  run.vm = vm;
  const onExit = () => run.end(failed('vm_exited', 'run', vm.end?.message ?? 'tart run has ended'));
  if (vm.exited.aborted) onExit();
  vm.exited.addEventListener('abort', onExit, { once: true });
  await journal.update({ phase: 'booted' });
  return vm;
}

function guestOf(run: AttemptRun, vm: Vm): Guest {
  const { journal, limits, emit } = run.context;
  const { timeouts } = journal.state.assignment;
  const recentMs = (timeouts.heartbeatTimeoutMs ?? 120_000) / 2;
  return new Guest({
    vm,
    deadLimitMs: sshDeadLimitMs(timeouts, limits),
    vmBeats: () =>
      (run.beats?.vmBeat?.ageMs ?? Number.POSITIVE_INFINITY) < recentMs && run.contact.lostForMs() < recentMs,
    onReconnected: (deadMs) => emit({ type: 'warning', message: `SSH was replaced after ${deadMs} ms` }),
    signal: run.signal,
  });
}

const asOver = (error: unknown): AttemptOver =>
  error instanceof AttemptOver ? error : failed('transfer_failed', 'source', (error as Error).message);
