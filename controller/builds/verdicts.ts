/**
 * Holds the texts about all verdicts and causes that people read, and says for each verdict whether the user
 * or the infrastructure is responsible. A verdict says how an attempt ended, and a cause says why.
 */
import {
  type Cause,
  type Evidence,
  type Explained,
  explanationIn,
  type ProcessSeen,
  type ToldByLog,
  type Verdict,
  type VerdictView,
} from '#contract';

type Words = Omit<Explained, 'code'>;

const VERDICT_WORDS: Record<Verdict, Words & { whose: 'user' | 'infrastructure' }> = {
  build_failed: {
    whose: 'user',
    title: 'The build command failed',
    explanation: 'The command ran to its end and exited with a code other than 0. The VM and the worker were healthy.',
    advice: 'Read the end of the log. The same command fails in the same way on any machine with this source.',
  },
  build_timeout: {
    whose: 'user',
    title: 'The build took too long',
    explanation:
      'The build was still running at the end of its buildTimeout, which starts when a worker claims the build.',
    advice: 'Look in the log for a step that never ends, or submit the build with a larger buildTimeoutMs.',
  },
  no_output: {
    whose: 'user',
    title: 'The command printed nothing for too long',
    explanation:
      'The VM was alive and the command was running, but for the whole noOutputTimeout the log did not grow, and the VM used no more CPU and network than before the command. The time in which it used more does not count.',
    advice:
      'If the agent could see which processes waited, the message lists them. The last line of the log names the step that hangs. Often it is a prompt, a keychain dialog or a package resolution. If the step is only quiet, raise noOutputTimeoutMs.',
  },
  source_invalid: {
    whose: 'user',
    title: 'The source archive cannot be unpacked safely',
    explanation: 'The archive is damaged, or it contains an entry that would leave its folder.',
    advice:
      'Make the archive again with `tar -czf source.tar.gz -C PROJECT .`, without absolute paths or links that point outside.',
  },
  project_invalid: {
    whose: 'user',
    title: 'The project cannot be built as it is',
    explanation:
      'The agent read the project before it started a VM, or the build asked for its number, and something that the build needs is missing or does not fit. The message says what. If the controller refuses the build its number, the source may be right.',
    advice: 'Do what the message says, and submit the build anew. Another Mac would find the same.',
  },
  artifact_missing: {
    whose: 'user',
    title: 'A required artifact is missing',
    explanation: 'The command succeeded, but a required artifact glob matched no file. The message says which.',
    advice:
      'Compare the glob with the paths that the build writes. Globs start at the root of the source. The agent takes a folder as one archive, however many files are in it.',
  },
  artifact_refused: {
    whose: 'user',
    title: 'An artifact cannot be stored',
    explanation:
      'The command succeeded, but an artifact is too large, has a name that cannot be stored, or there are too many of them. The message says which. Another attempt would meet the same refusal.',
    advice:
      'Make the artifact smaller, rename it, or name only the files that you need. On the Workers Free plan a file has at most 95 MiB. To raise a limit of the platform, change its plan.',
  },
  inputs_gone: {
    whose: 'user',
    title: 'The inputs of the build are no longer there',
    explanation:
      'The controller can no longer hand out the source of the build, or its environment and secret files. They were deleted, their row was altered, or the key that requested the build may not use the stored secrets of its project any more. The message says which. Another attempt would meet the same refusal.',
    advice:
      'Submit the build anew with its source, environment and secret files, and with a key that has the right to the stored secrets that it needs. A retry of deleted inputs would be refused too.',
  },
  cancelled: {
    whose: 'user',
    title: 'Cancelled',
    explanation: 'Somebody cancelled the build.',
    advice: 'Retry the build to run it again.',
  },
  queue_expired: {
    whose: 'user',
    title: 'No worker took the build in time',
    explanation: 'The build waited in the queue for its whole queueTimeout, and no worker took it.',
    advice: 'Check that a worker of this pool and platform is online and not paused. Then retry the build.',
  },
  vm_silent: {
    whose: 'infrastructure',
    title: 'The VM stopped sending heartbeats',
    explanation:
      'The monitor inside the VM sent no heartbeat for the whole heartbeatTimeout. The agent on the Mac was alive.',
    advice:
      'The cause says what the agent found. Retry the build. If it happens again on the same Mac, run `expo-worker doctor` there.',
  },
  worker_lost: {
    whose: 'infrastructure',
    title: 'The worker stopped sending heartbeats',
    explanation:
      'The agent on the Mac sent no heartbeat for the whole workerTimeout. The Mac slept, lost power or lost its network, or the agent died.',
    advice: 'Check that the Mac is awake and online, and that `expo-worker run` is running. Then retry the build.',
  },
  boot_timeout: {
    whose: 'infrastructure',
    title: 'The VM did not come up in time',
    explanation:
      'No step failed, but the VM sent no heartbeat within the bootTimeout, which starts when a worker claims the build.',
    advice: 'The timeline shows which step was slow. The usual reason is a busy or full Mac.',
  },
  vm_start_failed: {
    whose: 'infrastructure',
    title: 'The VM could not be started',
    explanation:
      'Tart failed, hung, or reached the limit of two VMs on one Mac, in the named step. A Mac at this limit, or one whose image for the build is gone, hands the build back, three times for a build at most. These attempts do not count towards maxAttempts.',
    advice:
      'Run `expo-worker doctor` on the Mac. If Tart reports the limit although no VM is running, restart the Mac.',
  },
  health_check_failed: {
    whose: 'infrastructure',
    title: 'The VM failed a health check',
    explanation:
      'The VM started, but the named check did not pass. The agent starts no build in a VM that fails a check.',
    advice: 'Run `expo-worker doctor` on the Mac. It makes the same checks in a VM of its own and names the fix.',
  },
  vm_exited: {
    whose: 'infrastructure',
    title: 'The VM ended during the build',
    explanation:
      'The process that runs the VM ended, although the agent had not stopped it. The guest crashed or shut down, or the process was killed. In the step `restart` the process lives on: macOS in the VM has started again, and the build had ended with it.',
    advice: 'Retry the build. If it happens again, check the Mac for memory pressure and system updates.',
  },
  worker_restarted: {
    whose: 'infrastructure',
    title: 'The worker restarted, and the VM no longer ran',
    explanation: 'The agent started again after a crash or a restart of the Mac. The VM of its build no longer ran.',
    advice: 'Retry the build.',
  },
  worker_stopped: {
    whose: 'infrastructure',
    title: 'The worker was stopped',
    explanation: 'While the build ran, an operator stopped the agent at once, removed the worker or revoked its key.',
    advice:
      'Retry the build. To stop a worker without losing builds, run `sudo expo-worker uninstall` on its Mac, which waits for running builds.',
  },
  transfer_failed: {
    whose: 'infrastructure',
    title: 'A file could not be transferred',
    explanation:
      'The source, the log or an artifact could not be transferred between controller, Mac and VM, in the named step.',
    advice: 'The message says what failed. Retry the build. If it happens again, check the network of the Mac.',
  },
};

const CAUSE_WORDS: Record<Cause, Words> = {
  vm_frozen: {
    title: 'The VM froze',
    explanation:
      'Tart said that the VM was running, but the VM no longer answered: neither over SSH nor, if the image has Tart’s guest agent, over that. Without a guest agent a VM that has lost its whole network looks the same.',
    advice: 'Give the VM at least 4 CPUs, update macOS on the Mac, and check that the Mac has memory to spare.',
  },
  monitor_died: {
    title: 'The monitor died',
    explanation: 'The VM answered over SSH, but its monitor had ended, and the agent could not keep a new one running.',
    advice: 'Check whether the build kills other processes. The evidence has the monitor’s own log.',
  },
  vm_network_down: {
    title: 'The VM lost its network',
    explanation:
      'The VM lived, but it could not reach the controller. If it did not answer over SSH either, it answered over Tart’s guest agent, which needs no network.',
    advice: 'Check DNS, VPN and firewall on the Mac. Internet sharing there may need a restart.',
  },
  disk_full: {
    title: 'The VM’s disk was full',
    explanation: 'The disk of the VM had no space left, or less than a build needs.',
    advice:
      'Enlarge the disk of the base image with `expo-worker base-image --disk-gb GB --force`, or make the build write less.',
  },
  out_of_memory: {
    title: 'The VM ran out of memory',
    explanation: 'The VM killed processes because its memory was exhausted.',
    advice: 'Give the VM more memory, or let the build run fewer things at the same time.',
  },
  vm_exited: {
    title: 'The VM had ended',
    explanation: 'The process that runs the VM had already ended when the agent looked.',
    advice: 'The evidence has the last output of that process.',
  },
  host_asleep: {
    title: 'The Mac slept',
    explanation: 'The agent itself did not run for a long time.',
    advice: 'Turn sleep off on the Mac: `sudo pmset -a sleep 0 disksleep 0 displaysleep 0`.',
  },
  host_network_down: {
    title: 'The Mac could not reach the controller',
    explanation:
      'The agent ran, but for a long time no answer of the controller reached it: the Mac had lost its network, or the controller was away.',
    advice: 'Check the network of the Mac. A wired connection is best.',
  },
  host_disk_full: {
    title: 'The Mac’s disk was full',
    explanation: 'There was no space left on the disk of the Mac. All its VMs share this disk.',
    advice:
      'Delete downloaded images that nobody uses with `tart prune --older-than 7`, and find out what else fills the disk.',
  },
  vm_restarted: {
    title: 'The VM restarted',
    explanation:
      'macOS in the VM panicked or restarted while the build ran. The VM came back, but the build had ended with it.',
    advice:
      'Retry the build. If it happens again, check that the build itself does not restart macOS, and update macOS on the Mac and in the base image.',
  },
  vm_limit: {
    title: 'The Mac had two other VMs',
    explanation: 'macOS runs at most two macOS VMs at a time on a Mac, and it counted two others.',
    advice:
      'Stop the other VMs on the Mac; VMs of other programs and accounts count too. If none runs, macOS has lost count: restart the Mac.',
  },
  sshd_died: {
    title: 'SSH in the VM died',
    explanation:
      'The VM answered over Tart’s guest agent and its network worked, but its SSH server refused all connections or was silent.',
    advice:
      'Retry the build. If it happens again, check whether the build ends processes of the system, and that Remote Login is on in the base image.',
  },
  unknown: {
    title: 'Unknown cause',
    explanation: 'The evidence that the agent could collect does not show why.',
    advice: 'The evidence of the attempt has everything that the agent saw.',
  },
};

export const isInfrastructure = (verdict: Verdict): boolean => VERDICT_WORDS[verdict].whose === 'infrastructure';

export const explainVerdict = (
  verdict: Verdict,
  step: string | null,
  message: string | null,
  fromLog: ToldByLog | null = null,
): VerdictView => ({
  code: verdict,
  ...VERDICT_WORDS[verdict],
  step,
  message,
  explained: fromLog ? explanationIn(fromLog) : null,
  tellingLines: fromLog?.tellingLines ?? [],
});

export const explainCause = (cause: Cause): Explained => ({ code: cause, ...CAUSE_WORDS[cause] });

const PROCESSES_SHOWN_MAX = 5;
const COMMAND_SHOWN_MAX = 100;

/**
 * The processes that waited in a build without output, as one text. Null if the evidence has no processes.
 */
export function sayWaiting({ processes = [] }: Evidence): string | null {
  if (processes.length === 0) return null;
  const shown = processes.slice(0, PROCESSES_SHOWN_MAX).map(sayProcess);
  const more = processes.length > PROCESSES_SHOWN_MAX ? '; the evidence has more' : '';
  return `These processes waited: ${shown.join('; ')}${more}.`;
}

function sayProcess({ command, pid, cpuPercent, elapsedMs }: ProcessSeen): string {
  const short = command.length > COMMAND_SHOWN_MAX ? `${command.slice(0, COMMAND_SHOWN_MAX - 1)}…` : command;
  return `${short} (pid ${pid}, ${cpuPercent.toFixed(1)} % CPU, for ${sayDuration(elapsedMs)})`;
}

const sayDuration = (durationMs: number) =>
  durationMs < 120_000 ? `${Math.round(durationMs / 1_000)} s` : `${Math.floor(durationMs / 60_000)} min`;
