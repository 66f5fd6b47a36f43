/**
 * Checks how launchd runs the agent. `doctor` asks them, and so does an agent that is quarantined. To add a
 * check, add an entry.
 *
 * Invariant: these checks look and change nothing. On another system than macOS all of them are skipped.
 */
import { accountOf } from '../mac/account.ts';
import { type JobState, readJobs } from '../mac/launchd-service.ts';
import type { Mac } from '../mac/programs.ts';
import { macosVersion, majorOf, onMac } from './ask-macos.ts';
import type { HostContext } from './host-context.ts';
import { type CheckOutcome, type HealthCheck, pass, warn } from './run-checks.ts';

const TIMEOUT_MS = 15_000;

export const LAUNCHD_CHECKS: readonly HealthCheck<HostContext>[] = [
  {
    id: 'launchd_job',
    title: 'launchd runs the agent',
    why: 'An agent that was started by hand does not come back after a restart of the Mac, after a crash, or when its terminal is closed.',
    blocking: false,
    dependsOn: [],
    timeoutMs: TIMEOUT_MS,
    fix: 'Run `sudo expo-worker install`.',
    run: onMac(async (mac, _, signal) => {
      const jobs = await jobsOf(mac, signal);
      const known = jobs.filter(({ loaded, plist }) => loaded || plist !== null);
      const [job] = known;
      if (!job) return warn('it is not installed');
      if (known.length > 1) return warn('both a LaunchDaemon and a LaunchAgent are installed', UNINSTALL_ONE);
      return judgeJob(job);
    }),
  },
  {
    id: 'local_network',
    title: 'Agent may reach VMs',
    why: 'Since macOS 15 a program needs permission to use the local network, and VMs are on one. A LaunchDaemon of root has this permission; somebody has to give it to a LaunchAgent. Without it, SSH ends with "No route to host".',
    blocking: false,
    dependsOn: ['macos_version'],
    timeoutMs: TIMEOUT_MS,
    fix: 'Open System Settings > Privacy & Security > Local Network and turn node on. If it is on already, turn it off and on again. Or run `expo-worker uninstall && sudo expo-worker install`.',
    run: onMac(async (mac, _, signal) => {
      const version = await macosVersion(mac, signal);
      if (majorOf(version) < 15) return pass(`macOS ${version} does not ask`);
      const [daemon, agent] = await jobsOf(mac, signal);
      if (agent?.loaded)
        return warn('the agent is a LaunchAgent, and this check cannot see whether it has the permission');
      return pass(daemon?.loaded ? 'the agent is a LaunchDaemon of root' : 'programs of a terminal may');
    }),
  },
];

const UNINSTALL_ONE =
  'Run `sudo expo-worker uninstall`, then `expo-worker uninstall`, and then install one of the two.';

const SEE_LOGS = 'Look at `expo-worker logs`, and at the file agent-errors.log beside the log.';

function judgeJob({ kind, plist, loaded, pid, lastExitCode }: JobState): CheckOutcome {
  const name = kind === 'daemon' ? 'LaunchDaemon' : 'LaunchAgent';
  const again = `Run \`${kind === 'daemon' ? 'sudo expo-worker install' : 'expo-worker install --launch-agent'}\`.`;
  if (!plist) return warn(`the ${name} is loaded, but its file is missing or broken`, again);
  if (!loaded) return warn(`the ${name} is installed and not loaded`, again);
  if (plist.ProcessType !== 'Interactive')
    return warn(`the ${name} has a ProcessType that is not Interactive, so macOS slows it down`, again);
  if (plist.AbandonProcessGroup !== true)
    return warn(`the ${name} lacks AbandonProcessGroup: launchd kills its VMs when it ends`, again);
  if (pid === null)
    return warn(
      `the ${name} is loaded and not running; ${lastExitCode === null ? 'how it ended is not known' : `it ended with ${lastExitCode}`}`,
      SEE_LOGS,
    );
  return pass(`${name}, pid ${pid}`);
}

async function jobsOf(mac: Mac, signal: AbortSignal): Promise<JobState[]> {
  return await readJobs(mac, await accountOf(mac, mac.user), signal);
}
