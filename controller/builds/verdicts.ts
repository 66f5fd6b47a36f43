/**
 * The closed lists of verdicts and causes in words for people, and whose each verdict is. A verdict says how an attempt
 * ended, a cause why; both are shown wherever the build is.
 */
import type { Cause, Explained, FailureExplanation, Verdict, VerdictView } from '#contract';

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
    explanation: 'The build was alive, but had not ended when its buildTimeout had passed since it was claimed.',
    advice: 'Look in the log for a step that never ends, or submit the build with a larger buildTimeoutMs.',
  },
  no_output: {
    whose: 'user',
    title: 'The command printed nothing for too long',
    explanation: 'The VM was alive, but the log had not grown for the whole noOutputTimeout while the command ran.',
    advice:
      'The last line of the log names the step that hangs: often a prompt, a keychain dialog or a package resolution. If the step is only quiet, raise noOutputTimeoutMs.',
  },
  source_invalid: {
    whose: 'user',
    title: 'The source archive cannot be unpacked safely',
    explanation: 'The archive is damaged, or holds an entry that would leave its folder.',
    advice:
      'Make the archive again with `tar -czf source.tar.gz -C PROJECT .`, without absolute paths or links that point outside.',
  },
  artifact_missing: {
    whose: 'user',
    title: 'A required artifact is missing',
    explanation:
      'The command succeeded, but a required artifact glob matched no file, or what the globs matched cannot be taken; the message says which.',
    advice:
      'Compare the glob with the paths that the build writes; globs count from the root of the source. A folder is taken as one archive, however many files are in it.',
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
    explanation: 'The build waited in the queue for its whole queueTimeout.',
    advice: 'See that a worker of this pool and platform is online and not paused, then retry the build.',
  },
  vm_silent: {
    whose: 'infrastructure',
    title: 'The VM fell silent',
    explanation:
      'The monitor inside the VM sent no heartbeat for the whole heartbeatTimeout, while the agent on the Mac was alive.',
    advice:
      'The cause says what the agent found. Retry the build; if it repeats on one Mac, run `expo-worker doctor` there.',
  },
  worker_lost: {
    whose: 'infrastructure',
    title: 'The worker was lost',
    explanation:
      'The agent on the Mac sent no heartbeat for the whole workerTimeout: the Mac slept, lost power or its network, or the agent died.',
    advice: 'See whether the Mac is awake and online and `expo-worker run` is running, then retry the build.',
  },
  boot_timeout: {
    whose: 'infrastructure',
    title: 'The VM did not come up in time',
    explanation:
      'No heartbeat had come out of the VM when the bootTimeout had passed since the claim, though no single step had failed.',
    advice: 'The timeline shows which step was slow. A busy or full Mac is the usual reason.',
  },
  vm_start_failed: {
    whose: 'infrastructure',
    title: 'The VM could not be started',
    explanation: 'Tart failed, hung, or met the limit of two VMs a Mac, in the step that is named.',
    advice:
      'Run `expo-worker doctor` on the Mac. If the limit is said to be reached with no VM running, restart the Mac.',
  },
  health_check_failed: {
    whose: 'infrastructure',
    title: 'The VM failed a health check',
    explanation: 'The VM was started, but the check that is named did not pass, and nothing is built on a sick VM.',
    advice: 'Run `expo-worker doctor` on the Mac: it makes the same checks in a VM of its own and names the fix.',
  },
  vm_exited: {
    whose: 'infrastructure',
    title: 'The VM ended in mid-build',
    explanation:
      'The process that runs the VM ended without having been asked to: the guest crashed or shut down, or the process was killed.',
    advice: 'Retry the build. If it repeats, see the Mac for memory pressure and system updates.',
  },
  worker_restarted: {
    whose: 'infrastructure',
    title: 'The worker restarted and the VM was gone',
    explanation: 'The agent came back after a crash or a restart of the Mac, and the VM of its build no longer ran.',
    advice: 'Retry the build.',
  },
  worker_stopped: {
    whose: 'infrastructure',
    title: 'The worker was stopped',
    explanation: 'An operator stopped the agent at once, removed the worker or revoked its key while the build ran.',
    advice: 'Retry the build. To stop a worker without losing builds, drain it first.',
  },
  transfer_failed: {
    whose: 'infrastructure',
    title: 'Files could not be moved',
    explanation:
      'The source, the log or an artifact could not be moved between controller, Mac and VM, in the step that is named.',
    advice: 'See the message for what failed. Retry the build; if it repeats, check the network of the Mac.',
  },
};

const CAUSE_WORDS: Record<Cause, Words> = {
  vm_frozen: {
    title: 'The VM froze',
    explanation: 'Tart said that the VM was running, but it no longer answered over SSH.',
    advice: 'Give the VM at least 4 CPUs, update macOS on the host, and see that the Mac has memory to spare.',
  },
  monitor_died: {
    title: 'The monitor died',
    explanation: 'The VM answered over SSH, but the monitor in it was gone and could not be kept running.',
    advice: 'See whether the build kills other processes; the monitor’s own log is in the evidence.',
  },
  vm_network_down: {
    title: 'The VM lost its network',
    explanation: 'The VM answered its host and the monitor ran, but the controller could not be reached from inside.',
    advice: 'Check DNS, VPN and firewall on the Mac; internet sharing there may need a restart.',
  },
  disk_full: {
    title: 'The VM’s disk was full',
    explanation: 'There was no space left on the disk of the VM.',
    advice: 'Enlarge the disk of the base image with `tart set --disk-size`, or have the build write less.',
  },
  out_of_memory: {
    title: 'The VM ran out of memory',
    explanation: 'The VM killed processes because its memory was exhausted.',
    advice: 'Give the VM more memory, or limit what the build runs at the same time.',
  },
  vm_exited: {
    title: 'The VM had ended',
    explanation: 'The process that runs the VM was gone when the agent looked.',
    advice: 'What it printed last is in the evidence.',
  },
  host_asleep: {
    title: 'The Mac slept',
    explanation: 'The agent itself did not run for a long stretch of time.',
    advice: 'Turn sleep off on the Mac: `sudo pmset -a sleep 0 disksleep 0 displaysleep 0`.',
  },
  host_network_down: {
    title: 'The Mac lost its network',
    explanation: 'The agent could not reach the controller for a long time, and neither could the VM.',
    advice: 'Check the network of the Mac; a wired connection is best.',
  },
  host_disk_full: {
    title: 'The Mac’s disk was full',
    explanation: 'There was no space left on the disk of the Mac, which every VM shares.',
    advice: 'Remove unused images with `tart prune`, and see what else fills the disk.',
  },
  unknown: {
    title: 'Unknown cause',
    explanation: 'What the agent could see of the VM does not tell why.',
    advice: 'All that was seen is in the evidence of the attempt.',
  },
};

export const isInfrastructure = (verdict: Verdict): boolean => VERDICT_WORDS[verdict].whose === 'infrastructure';

export const explainVerdict = (
  verdict: Verdict,
  step: string | null,
  message: string | null,
  explained: FailureExplanation | null = null,
): VerdictView => ({ code: verdict, ...VERDICT_WORDS[verdict], step, message, explained });

export const explainCause = (cause: Cause): Explained => ({ code: cause, ...CAUSE_WORDS[cause] });
