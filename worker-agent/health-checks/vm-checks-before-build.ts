/**
 * Checks that a VM is fit for a build, and that it is the right VM. The agent runs these checks from the
 * host, in this order: before each build, and for `doctor`.
 */
import { Health, type HealthCheckId } from '#contract';
import { vmControllerUrl } from '../config.ts';
import { normaliseMac, parseDiskFree, parseMacAddresses } from '../guest/answers.ts';
import { controllerHealth, diskFree, hasCurl, hasMonitor, macAddresses, setClock } from '../guest/commands.ts';
import { askScripts, problemOf, settleScripts } from '../guest/installation.ts';
import { BOOT_LIMITS, CLOCK_TOLERANCE_MS, GUEST_COMMAND_MS, GUEST_INSTALL_MS } from '../time-limits.ts';
import { ask, askWhether, clockOffsetMs, parseJson, type VmCheckContext } from './ask-vm.ts';
import { GB_BYTES, inGb, inSeconds } from './figures.ts';
import { fail, type HealthCheck, pass } from './run-checks.ts';

/** curl in the guest stops after 10 s. The other 5 s are for the way there and back. */
const CONTROLLER_TIMEOUT_MS = 15_000;

export const VM_CHECKS: readonly HealthCheck<VmCheckContext, HealthCheckId>[] = [
  {
    id: 'vm_exists',
    title: 'VM is listed and running',
    why: 'This check notices another program that deletes VMs, and a start that failed without a message.',
    blocking: true,
    dependsOn: [],
    timeoutMs: 30_000,
    fix: 'Look at `tart list`. If it does not show the VM, another program on this Mac deletes VMs.',
    async run({ tart, vm }, signal) {
      const listed = await tart.list(signal);
      if (!listed.ok) return fail(listed.message);
      const found = listed.vms.find(({ name }) => name === vm.name);
      if (!found) return fail(`tart list does not show ${vm.name}`);
      return found.state === 'running' ? pass(vm.name) : fail(`${vm.name} is ${found.state}`);
    },
  },
  {
    id: 'vm_address',
    title: 'VM has an address',
    why: 'The agent cannot reach a VM that has no address.',
    blocking: true,
    dependsOn: ['vm_exists'],
    timeoutMs: 30_000,
    fix: 'Run `tart ip NAME --wait 60`. If it prints no address, the DHCP leases of this Mac may be used up. Shorter leases or a restart of the Mac help.',
    async run({ tart, vm }, signal) {
      const result = await tart.ip(vm.name, { signal });
      if (!result.ok) return fail(result.message);
      return result.address === vm.address
        ? pass(result.address)
        : fail(`tart ip now prints ${result.address}, but the agent reached the VM at ${vm.address}`);
    },
  },
  {
    id: 'ssh',
    title: 'VM answers over SSH',
    why: 'The agent does everything in a VM over SSH.',
    blocking: true,
    dependsOn: [],
    timeoutMs: BOOT_LIMITS.sshMs,
    tryMs: GUEST_COMMAND_MS,
    fix: 'Log in by hand with vmSshKey and vmUser. In the base image Remote Login must be on, and the key must be in authorized_keys, without `command=` or with that of vm-ssh-gate. If the guest scripts of the image are too old for a tied key, run `expo-worker base-image --force --restrict-key`.',
    async run({ vm }, signal) {
      const seen = await askScripts(vm.ssh, signal);
      vm.scripts.seen = seen;
      const problem = problemOf(seen);
      if (problem) return fail(problem.detail, problem.fix);
      return pass(seen.tied ? 'alive; the key is tied to vm-ssh-gate' : 'alive; the key may run any command');
    },
  },
  {
    id: 'vm_identity',
    title: 'VM is the one that was cloned',
    why: 'The address may still belong to another VM, and the build must not run in that one.',
    blocking: true,
    dependsOn: ['vm_address', 'ssh'],
    timeoutMs: BOOT_LIMITS.sshMs,
    tryMs: GUEST_COMMAND_MS,
    fix: 'Another VM answers at this address, because of an old DHCP lease. The next attempt gets a new clone. If this happens again, restart the Mac.',
    async run({ tart, vm }, signal) {
      const config = await tart.macAddress(vm.name);
      if (!config.ok) return fail(config.message);
      const wanted = normaliseMac(config.macAddress) ?? config.macAddress;
      const seen = parseMacAddresses(await ask(vm, macAddresses(), signal));
      return seen.includes(wanted)
        ? pass(wanted)
        : fail(`the clone has ${wanted}, the VM at ${vm.address} has ${seen.join(', ') || 'no MAC address'}`);
    },
  },
  {
    id: 'guest_scripts',
    title: 'VM has the guest scripts',
    why: 'These scripts do all that the agent does in a VM. If the image has another version, the agent installs its own.',
    blocking: true,
    dependsOn: ['ssh'],
    timeoutMs: BOOT_LIMITS.sshMs,
    tryMs: GUEST_INSTALL_MS,
    fix: 'Look whether the home of vmUser in the base image can be written and has room. To put the scripts into the image, run `expo-worker base-image --force`.',
    async run({ vm }, signal) {
      return pass(await settleScripts(vm.ssh, vm.scripts, vm.scripts.seen!, signal));
    },
  },
  {
    id: 'disk_space',
    title: 'VM has free disk space',
    why: 'Builds write a lot. When the disk is full they fail with misleading messages.',
    blocking: true,
    dependsOn: ['guest_scripts'],
    timeoutMs: BOOT_LIMITS.sshMs,
    tryMs: GUEST_COMMAND_MS,
    fix: 'Free space in the base image, enlarge its disk with `expo-worker base-image --disk-gb GB --force`, or lower minFreeDiskGb.',
    async run({ vm, config }, signal) {
      const disk = parseDiskFree(await ask(vm, diskFree(), signal));
      if (!disk) return fail('df printed no figures in the VM');
      const { availableBytes, totalBytes } = disk;
      const detail = `${inGb(availableBytes)} of ${inGb(totalBytes)} free`;
      return availableBytes >= config.minFreeDiskGb * GB_BYTES
        ? pass(detail)
        : fail(`${detail}, ${config.minFreeDiskGb} GB needed`);
    },
  },
  {
    id: 'monitor',
    title: 'VM has the monitor',
    why: 'The beats of the monitor prove that the VM lives.',
    blocking: true,
    dependsOn: ['guest_scripts'],
    timeoutMs: BOOT_LIMITS.sshMs,
    tryMs: GUEST_COMMAND_MS,
    fix: 'Install vm-image/vm-monitor.sh as /usr/local/bin/vm-monitor.sh in the base image, with mode 755.',
    async run({ vm }, signal) {
      const answer = await askWhether(vm, hasMonitor(), signal);
      return answer === null
        ? fail('/usr/local/bin/vm-monitor.sh does not exist in the VM, or is not executable')
        : pass(answer.trim());
    },
  },
  {
    id: 'curl',
    title: 'VM has curl',
    why: 'The monitor sends its beats with curl.',
    blocking: true,
    dependsOn: ['guest_scripts'],
    timeoutMs: BOOT_LIMITS.sshMs,
    tryMs: GUEST_COMMAND_MS,
    fix: 'Install curl in the base image, in a folder on the PATH of SSH commands (/usr/bin on every Mac).',
    async run({ vm }, signal) {
      const answer = await askWhether(vm, hasCurl(), signal);
      const version = /^curl (\S+)/m.exec(answer ?? '')?.[1];
      return version ? pass(`curl ${version}`) : fail('curl is not on the PATH of SSH commands');
    },
  },
  {
    id: 'clock',
    title: 'VM agrees on the time',
    why: 'When a Mac has slept, the clocks of its VMs are behind, and every certificate looks invalid.',
    blocking: true,
    dependsOn: ['guest_scripts'],
    timeoutMs: BOOT_LIMITS.sshMs,
    tryMs: GUEST_COMMAND_MS,
    fix: 'Allow `sudo date` without a password in the base image, so that the agent can set the clock.',
    async run({ vm }, signal) {
      const offMs = await clockOffsetMs(vm, signal);
      if (Math.abs(offMs) <= CLOCK_TOLERANCE_MS) return pass(`off by ${inSeconds(offMs)}`);
      // Whether this succeeded does not matter here, because the second measurement decides.
      await askWhether(vm, setClock(Date.now()), signal);
      const stillOffMs = await clockOffsetMs(vm, signal);
      return Math.abs(stillOffMs) <= CLOCK_TOLERANCE_MS
        ? pass(`was off by ${inSeconds(offMs)}, now set`)
        : fail(`off by ${inSeconds(stillOffMs)}, and the agent could not set it`);
    },
  },
  {
    id: 'controller',
    title: 'VM reaches the controller',
    why: 'The VM sends its beats directly to the controller.',
    blocking: true,
    // While the clock is wrong, every certificate looks invalid.
    dependsOn: ['curl', 'clock'],
    timeoutMs: BOOT_LIMITS.sshMs,
    tryMs: CONTROLLER_TIMEOUT_MS,
    fix: 'Run `curl` with this address in the VM. If the VM needs another address for the controller, set vmControllerUrl in the config.',
    async run({ vm, config }, signal) {
      const url = vmControllerUrl(config);
      const { stdout, stderr } = await vm.ssh.exec(controllerHealth(url), { timeoutMs: CONTROLLER_TIMEOUT_MS, signal });
      const [, body, status] = /^([\s\S]*)\n(\d{3})\n$/.exec(stdout.toString('utf8')) ?? [];
      if (status === undefined || status === '000') return fail(`${url}/health: ${stderr.trim() || 'no answer'}`);
      if (status !== '200') return fail(`${url}/health answered ${status}`);
      return Health.safeParse(parseJson(body!)).success
        ? pass(url)
        : fail(`something else than a controller answers at ${url}/health`);
    },
  },
];
