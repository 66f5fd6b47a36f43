/**
 * Follows the log of the build to its end: masked onto this disk, from there to the controller, and read for
 * progress.
 *
 * Invariant: everything that has been read when the command ends is on this disk and counted before the exit
 * code is journalled.
 */
import type { Inputs } from '#contract';
import { LogFollower } from '../build-log/follower.ts';
import { needlesOf } from '../build-log/mask.ts';
import { LogProgress } from '../build-log/progress.ts';
import { LogShipping } from '../build-log/shipping.ts';
import { failed } from '../ending.ts';
import type { Guest } from '../guest/session.ts';
import { logFreshMs } from '../limits.ts';
import type { AttemptContext } from './context.ts';

/** The log of a build whose command runs, or has run. */
export interface BuildLog {
  follower: LogFollower;
  shipping: LogShipping;
  /** From the first byte of the log that this run of the agent has read. */
  progress: LogProgress;
}

/** Goes on where a former run of the agent has stopped reading. */
export async function openLog(context: AttemptContext, guest: Guest, inputs: Inputs): Promise<BuildLog> {
  const { key, client, journal, emit, leave } = context;
  const { assignment, commandStartedAtMs } = journal.state;
  const path = journal.logPath;
  const progress = new LogProgress({ assignment, commandStartedAtMs: commandStartedAtMs ?? Date.now() });
  const lengthBytes = () => follower.lengthBytes;
  const shipping = new LogShipping({ ...key, client, path, lengthBytes, emit, leave });
  const follower = await LogFollower.open({
    guest,
    key,
    path,
    needles: needlesOf({ ...inputs, others: [assignment.tokens.vm] }),
    freshMs: logFreshMs(assignment.timeouts),
    followers: () => shipping.followers,
    onBytes: (bytes) => progress.push(bytes),
    onGrown: () => shipping.poke(),
  });
  await progress.reread(path, follower.lengthBytes);
  return { follower, shipping, progress };
}

/**
 * Resolves with the exit code when the command has ended, with null if the command was lost without one. A
 * guest that has restarted ends the attempt.
 */
export async function followLog(
  context: AttemptContext,
  { follower, shipping, progress }: BuildLog,
): Promise<number | null> {
  const { beats, journal, signal } = context;
  beats.describeLog(() => ({ outputAgeMs: follower.outputAgeMs(), progress: progress.snapshot() }));
  shipping.start();
  context.enter('building');
  const { exitCode, restarted } = await follower.follow(signal);
  if (restarted) throw failed('vm_exited', 'restart', 'macOS in the VM has restarted while the build ran in it');
  await follower.finish();
  progress.end();
  await journal.update({ phase: 'command_ended', exitCode });
  return exitCode;
}
