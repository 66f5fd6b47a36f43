/**
 * Checks how launchd runs the agent. `doctor` runs these checks, and so does an agent that is quarantined. To
 * add a check, add an entry.
 *
 * Invariant: these checks change nothing. On another system than macOS all of them are skipped.
 */
import { BlockList, isIPv4 } from 'node:net';
import { TART_HOST_ADDRESS } from '../config.ts';
import { ConfigError } from '../config-findings.ts';
import { accountOf } from '../mac/account.ts';
import { inWords } from '../mac/installation.ts';
import { type JobState, readJobs } from '../mac/launchd-service.ts';
import type { Mac } from '../mac/programs.ts';
import { macosVersion, majorOf, onMac, settingOf } from './ask-macos.ts';
import type { HostContext } from './host-context.ts';
import { type CheckOutcome, type HealthCheck, isAtLeast, pass, warn } from './run-checks.ts';

const TIMEOUT_MS = 15_000;
const LOCAL_NETWORK = 'com.apple.network.local-network';
/** macOS does not document which of the two counts for the network of VMs. */
const ALLOW_KEYS = ['AllowedEthernetLocalNetworkAddresses', 'AllowedWiFiLocalNetworkAddresses'] as const;
const ALLOW_LIST_SINCE = [15, 5] as const;
const ALLOW_BY_HAND =
  'Open System Settings > Privacy & Security > Local Network and turn node on. If it is on already, turn it off and on again. Or run `expo-worker uninstall && sudo expo-worker install`.';
const ALLOW_LIST = `Or allow the network of the VMs to every program of this Mac: run ${inWords('allow-ethernet', 'allow-wifi')}. Then restart the Mac.`;

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
    why: 'Since macOS 15 a program needs permission to use the local network, and VMs are on one. A LaunchDaemon of root has this permission. A LaunchAgent needs it from a person, or from the allow list of macOS 15.5 and newer. Without it, connections end with "No route to host", although `ssh`, `nc` and `curl` of macOS still get through.',
    blocking: false,
    dependsOn: ['macos_version'],
    timeoutMs: TIMEOUT_MS,
    fix: `${ALLOW_BY_HAND} ${ALLOW_LIST}`,
    run: onMac(async (mac, { config }, signal) => {
      const version = await macosVersion(mac, signal);
      if (majorOf(version) < 15) return pass(`macOS ${version} does not ask`);
      const [daemon, agent] = await jobsOf(mac, signal);
      if (daemon?.loaded) return pass('the agent is a LaunchDaemon of root');
      if (!agent?.loaded) return pass('programs of a terminal may');
      if (!isAtLeast(version, ALLOW_LIST_SINCE))
        return warn('the agent is a LaunchAgent, and this check cannot see whether it may', ALLOW_BY_HAND);
      if (mac.uid !== 0)
        return warn(
          'the agent is a LaunchAgent, and only root may look whether it is allowed (`sudo expo-worker doctor --no-vm`)',
        );
      const host = config instanceof ConfigError ? TART_HOST_ADDRESS : config.vmHostAddress;
      const lists = await Promise.all(ALLOW_KEYS.map((key) => settingOf(mac, LOCAL_NETWORK, key, signal)));
      const lacking = ALLOW_KEYS.filter((_, index) => !covers(lists[index] ?? null, host));
      return lacking.length === 0
        ? pass(`macOS lets all programs reach ${host}`)
        : warn(`the agent is a LaunchAgent, and ${lacking.join(' and ')} lacks the network of ${host}`);
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

/** Reads `( "192.168.64.0/24", "10.0.0.0/8" )`, as `defaults` prints a list. */
function covers(list: string | null, address: string): boolean {
  const networks = new BlockList();
  for (const [, network, bits] of (list ?? '').matchAll(/(\d+\.\d+\.\d+\.\d+)\/(\d+)/g))
    if (isIPv4(network!) && Number(bits) <= 32) networks.addSubnet(network!, Number(bits));
  return networks.check(address);
}

async function jobsOf(mac: Mac, signal: AbortSignal): Promise<JobState[]> {
  return await readJobs(mac, await accountOf(mac, mac.user), signal);
}
