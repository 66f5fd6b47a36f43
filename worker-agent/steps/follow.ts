/**
 * Follows the log of the build to its end: writes it masked onto this disk, sends it to the controller, and
 * reads it for progress and for the reason of a failure.
 *
 * Invariant: the parsers read the log as the build printed it; only the masked log is stored or sent. All
 * bytes that have been read when the command ends are on this disk and counted before the exit code is
 * journalled.
 */
import { LogShipping } from '../build-log/background-shipping.ts';
import { commandMaskOf } from '../build-log/command-mask.ts';
import { TOLD_LINES, TOLD_MAX_BYTES, toldBy } from '../build-log/failure-text.ts';
import { LogFollower } from '../build-log/follower.ts';
import { maskText, needlesOf, type Secrets } from '../build-log/mask.ts';
import { LogProgress } from '../build-log/progress.ts';
import { RecentLog } from '../build-log/recent-bytes.ts';
import { failed } from '../ending.ts';
import { logFreshMs } from '../time-limits.ts';
import type { Booted } from './boot.ts';
import type { AttemptContext } from './context.ts';

/** The log of a build whose command runs, or has run. */
export interface BuildLog {
  follower: LogFollower;
  shipping: LogShipping;
  progress: LogProgress;
  /** The end of the log, as the build printed it. */
  recent: RecentLog;
  needles: readonly Buffer[];
  /** Removes the secrets of the build from a text. */
  mask(text: string): string;
  /** Removes them from the command of a process. */
  maskCommand(command: string): string;
}

/** Continues where a former run of the agent has stopped reading. */
export async function openLog(
  context: AttemptContext,
  { guest }: Booted,
  given: Omit<Secrets, 'others'>,
  secretTexts: readonly string[],
): Promise<BuildLog> {
  const { key, client, journal, emit, leave } = context;
  const { assignment, commandStartedAtMs, baseline } = journal.state;
  const path = journal.logPath;
  const progress = new LogProgress({ assignment, commandStartedAtMs: commandStartedAtMs ?? Date.now() });
  const lengthBytes = () => follower.lengthBytes;
  const recent = new RecentLog(TOLD_MAX_BYTES);
  const secrets = { ...given, others: [assignment.tokens.vm, ...secretTexts] };
  const needles = needlesOf(secrets);
  const shipping = new LogShipping({ ...key, client, path, lengthBytes, emit, leave });
  const follower = await LogFollower.open({
    guest,
    key,
    path,
    needles,
    baseline,
    freshMs: logFreshMs(assignment.timeouts),
    onBytes: (bytes) => {
      progress.push(bytes);
      recent.push(bytes);
    },
    onGrown: () => shipping.poke(),
    onWarning: (message) => emit({ type: 'warning', message }),
  });
  for await (const { bytes, share } of follower.readAgain()) {
    progress.pushEarlier(bytes, share);
    recent.push(bytes);
  }
  const mask = (text: string) => maskText(needles, text);
  return { follower, shipping, progress, recent, needles, mask, maskCommand: commandMaskOf(secrets) };
}

/**
 * Resolves with the exit code when the command has ended, or with null if the command was lost without one. A
 * guest that has restarted ends the attempt.
 */
export async function followLog(
  context: AttemptContext,
  { follower, shipping, progress, recent, needles, mask }: BuildLog,
): Promise<number | null> {
  const { beats, journal, signal } = context;
  beats.describeLog(() => {
    const { phase, ...figures } = progress.snapshot();
    return { outputAgeMs: follower.outputAgeMs(), progress: { ...figures, phase: mask(phase) } };
  });
  shipping.start();
  context.enter('building');
  const { exitCode, restarted } = await follower.follow(signal);
  if (restarted) throw failed('vm_exited', 'restart', 'macOS in the VM has restarted while the build ran in it');
  await follower.finish();
  progress.end();
  const fromLog = exitCode === 0 ? null : toldBy(recent.lines(TOLD_LINES), needles);
  await journal.update({ phase: 'command_ended', exitCode, fromLog });
  return exitCode;
}
