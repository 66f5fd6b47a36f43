/**
 * Does `tart run`, in the foreground until the VM ends. SIGINT stops the VM, SIGUSR1 suspends it, SIGUSR2
 * asks it to stop. SIGTERM kills this process, as it kills Tart. The exit code is 0 also for a guest that
 * crashed.
 */
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Arguments } from '../arguments.ts';
import type { Command } from '../command.ts';
import { VM_NAME } from '../command.ts';
import { RuntimeError, UsageError, vmAlreadyRunning } from '../failure.ts';
import type { Softnet } from '../guest/softnet.ts';
import { readFaults } from '../home/faults.ts';
import { lockHome } from '../home/lock.ts';
import { allocate, readDisk } from '../home/simulated-disk.ts';
import { randomMac, readConfig, writeConfig } from '../home/vm-config.ts';
import { isSuspended, listVms, openVm, type RunningMark, runnerOf, touch, type Vm } from '../home/vms.ts';
import { Hypervisor, type RunEnd } from '../hypervisor.ts';
import { processId } from '../processes/process-table.ts';
import { newRunId } from '../processes/runs.ts';

const MACOS_VMS_MAX = 2;
/** How long Tart takes to learn from macOS that there are too many VMs. The VM shows as running meanwhile. */
const START_REFUSED_AFTER_MS = 200;

const flag = (name: string, help: string) => ({ names: [name] as const, help });
const option = (name: string, value: string, help: string) => ({ names: [name] as const, value, help });

const LAST_WORDS: Record<RunEnd, string | undefined> = {
  stopped: undefined, // printed when the signal came
  suspended: 'snapshot created successfully! shutting down the VM...',
  guest_stopped: 'guest has stopped the virtual machine',
  guest_crashed: 'guest has stopped the virtual machine due to error: The virtual machine stopped unexpectedly.',
};

export const run: Command = {
  name: 'run',
  overview: 'Run a VM',
  positionals: [VM_NAME],
  options: [
    flag('--no-graphics', "Don't open a UI window."),
    flag('--serial', 'Open serial console in /dev/ttySXX'),
    option('--serial-path', 'serial-path', 'Attach an externally created serial console'),
    flag('--graphics', 'Force open a UI window'),
    flag('--no-audio', 'Disable audio pass-through to host.'),
    flag('--no-clipboard', 'Disable clipboard sharing between host and guest.'),
    flag('--recovery', 'Boot into recovery mode'),
    flag('--vnc', 'Use screen sharing instead of the built-in UI.'),
    flag('--vnc-experimental', "Use Virtualization.Framework's VNC server instead of the built-in UI."),
    option('--disk', 'path[:options]', 'Additional disk attachments'),
    option('--rosetta', 'tag', 'Attaches a Rosetta share to the guest Linux VM'),
    option('--dir', '[name:]path[:options]', 'Additional directory shares'),
    flag('--nested', 'Enable nested virtualization'),
    option('--net-bridged', 'interface name', 'Use bridged networking instead of the default shared (NAT) networking'),
    flag('--net-softnet', 'Use software networking instead of the default shared (NAT) networking'),
    option('--net-softnet-allow', 'comma-separated CIDRs', 'CIDRs to allow the traffic to'),
    option('--net-softnet-block', 'comma-separated CIDRs', 'CIDRs to block the traffic to'),
    option('--net-softnet-expose', 'comma-separated port specifications', 'TCP ports to expose'),
    flag('--net-host', 'Restrict network access to the host-only network'),
    option('--root-disk-opts', 'options', 'Set the root disk options'),
    flag('--suspendable', 'Disables audio and entropy devices and switches to only Mac-specific input devices.'),
    flag('--capture-system-keys', 'Whether system hot keys should be sent to the guest instead of the host'),
    flag('--no-trackpad', 'Disable the trackpad'),
    flag('--no-pointer', 'Disable the pointer'),
    flag('--no-keyboard', 'Disable the keyboard'),
  ],
  validate,
  async run(args, tartHome) {
    // First, because a process that finds the mark of this one may send it a signal at once.
    const asked = listen(args);
    const { vm, mark } = take(args.word(0), tartHome);
    const file = join(vm.folder, 'running.json');
    try {
      await refuseToStart(vm, tartHome);
      allocate(tartHome, vm.folder, readDisk(tartHome)?.writtenPerRunBytes ?? 0);
      const end = await play(new Hypervisor(tartHome, vm, mark.runId, softnetOf(args)), vm, asked);
      const words = LAST_WORDS[end];
      if (words) console.log(words);
      if (end === 'suspended') writeFileSync(join(vm.folder, 'state.vzvmsave'), '');
    } finally {
      if (runnerOf(vm)?.runId === mark.runId) rmSync(file, { force: true });
    }
  },
};

function validate(args: Arguments, tartHome: string): void {
  const has = (name: string) => args.has(name);
  if (has('--vnc') && has('--vnc-experimental'))
    throw new UsageError('--vnc and --vnc-experimental are mutually exclusive');
  if ([has('--net-bridged'), hasSoftnet(args), has('--net-host')].filter(Boolean).length > 1)
    throw new UsageError('--net-bridged, --net-softnet and --net-host are mutually exclusive');
  if (has('--graphics') && has('--no-graphics'))
    throw new UsageError('--graphics and --no-graphics are mutually exclusive');
  for (const device of ['--no-trackpad', '--no-keyboard', '--no-pointer'])
    if (has(device) && has('--suspendable')) throw new UsageError(`${device} cannot be used with --suspendable`);
  // Only this command opens its VM while it validates, so Swift prefixes the message and loses the exit code.
  try {
    openVm(tartHome, args.word(0));
  } catch (error) {
    throw new Error((error as Error).message);
  }
}

/** Each option of softnet turns it on. */
function softnetOf(args: Arguments): Softnet | null {
  if (!hasSoftnet(args)) return null;
  const networks = (name: string) => (args.value(name) ?? '').split(',').filter(Boolean);
  return { allow: networks('--net-softnet-allow'), block: networks('--net-softnet-block') };
}

const hasSoftnet = (args: Arguments) =>
  ['', '-allow', '-block', '-expose'].some((end) => args.has(`--net-softnet${end}`));

/**
 * Takes the VM's lock before the start, as Tart does: a VM that may not start shows as running for a moment.
 */
function take(name: string, tartHome: string): { vm: Vm; mark: RunningMark } {
  using _lock = lockHome(tartHome);
  const vm = openVm(tartHome, name);
  if (runnerOf(vm)) throw vmAlreadyRunning(name);
  const config = readConfig(vm);
  const others = runningVms(tartHome);
  if (others.some((other) => readConfig(other).macAddress === config.macAddress)) {
    console.log('There is already a running VM with the same MAC address!');
    console.log('Resetting VM to assign a new MAC address...');
    writeConfig(vm, { ...config, macAddress: randomMac() });
  }
  const mark = { ...processId(process.pid)!, runId: newRunId(tartHome) };
  // Written atomically, because a reader takes a VM with half a mark for stopped.
  const draft = join(vm.folder, `.running-${process.pid}`);
  writeFileSync(draft, JSON.stringify(mark));
  renameSync(draft, join(vm.folder, 'running.json'));
  touch(vm);
  return { vm, mark };
}

async function refuseToStart(vm: Vm, tartHome: string): Promise<void> {
  const faults = readFaults(vm.folder);
  const macs = runningVms(tartHome).filter((other) => other.name !== vm.name && readConfig(other).os === 'darwin');
  const tooMany = readConfig(vm).os === 'darwin' && macs.length >= MACOS_VMS_MAX;
  if (!tooMany && !faults.has('run-limit')) return;
  await sleep(START_REFUSED_AFTER_MS);
  const names = macs.map((other) => other.name).join(', ');
  throw new RuntimeError(`The number of VMs exceeds the system limit${names ? ` (other running VMs: ${names})` : ''}`);
}

const runningVms = (tartHome: string) => listVms(tartHome).filter((vm) => vm.source === 'local' && runnerOf(vm));

async function play(hypervisor: Hypervisor, vm: Vm, asked: Promise<RunEnd>): Promise<RunEnd> {
  if (isSuspended(vm)) {
    console.log('restoring VM state from a snapshot...');
    rmSync(join(vm.folder, 'state.vzvmsave'));
    console.log('resuming VM...');
  }
  void asked.then((end) => hypervisor.stop(end));
  return hypervisor.run();
}

/** Resolves when a signal asks for the end of the VM. */
function listen(args: Arguments): Promise<RunEnd> {
  const { promise, resolve } = Promise.withResolvers<RunEnd>();
  process.once('SIGINT', () => {
    console.log('Stopping VM...');
    resolve('stopped');
  });
  process.on('SIGUSR1', () => {
    console.log('pausing VM to take a snapshot...');
    if (!args.has('--suspendable')) {
      console.log('Failed to suspend the VM: The VM was not started with --suspendable.');
      process.exitCode = 1;
      return resolve('stopped');
    }
    console.log('creating a snapshot...');
    resolve('suspended');
  });
  // macOS would ask its user, and the simulator has none.
  process.on('SIGUSR2', () => console.log('Requesting guest OS to stop...'));
  return promise;
}
