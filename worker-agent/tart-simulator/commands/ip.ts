/**
 * Does `tart ip`. It reads leases and does not check whether the VM runs, so it may print the address of a
 * stopped VM. A call that fails takes at least a second.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from '../command.ts';
import { VM_NAME } from '../command.ts';
import { RuntimeError } from '../failure.ts';
import { leaseOf } from '../guest/leases.ts';
import { readFaults } from '../home/faults.ts';
import { readConfig } from '../home/vm-config.ts';
import { listVms, openVm, runnerOf, touch, type Vm } from '../home/vms.ts';

const TRY_EVERY_MS = 1_000;

export const ip: Command = {
  name: 'ip',
  overview: "Get VM's IP address",
  positionals: [VM_NAME],
  options: [
    { names: ['--wait'], value: 'wait', max: 65_535, help: 'Number of seconds to wait for a potential VM booting' },
    {
      names: ['--resolver'],
      value: 'resolver',
      oneOf: ['dhcp', 'arp', 'agent'],
      help: 'Strategy for resolving IP address: dhcp, arp or agent',
    },
  ],
  async run(args, tartHome) {
    const vm = openVm(tartHome, args.word(0));
    touch(vm);
    const resolver = args.value('--resolver') ?? 'dhcp';
    const giveUpAt = performance.now() + args.number('--wait', 0) * 1000;
    do {
      const address = resolver === 'agent' ? undefined : addressOf(vm, tartHome);
      if (address) return void console.log(address);
      await sleep(TRY_EVERY_MS);
    } while (performance.now() < giveUpAt);
    const hints = [
      runnerOf(vm) ? '' : ', is your VM running?',
      resolver === 'agent' ? ' (also make sure that Guest agent for Tart is running inside of a VM)' : '',
      resolver === 'arp' && readConfig(vm).os === 'linux'
        ? ' (not all Linux distributions are compatible with the ARP resolver)'
        : '',
    ];
    throw new RuntimeError(`no IP address found${hints.join('')}`);
  },
};

function addressOf(vm: Vm, tartHome: string): string | undefined {
  const faults = readFaults(vm.folder);
  if (faults.has('no-ip') || faults.has('boot-hang')) return undefined;
  if (faults.has('stale-ip')) {
    const other = listVms(tartHome).find((candidate) => candidate.name !== vm.name && runnerOf(candidate));
    // If no other VM runs, the stand-in for ifconfig makes this one look like another.
    if (other) return leaseOf(tartHome, readConfig(other).macAddress);
  }
  return leaseOf(tartHome, readConfig(vm).macAddress);
}
