/**
 * Does `tart exec`, which needs an agent in the guest. The guest has none; this fails like Tart, and as late.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from '../command.ts';
import { RuntimeError, vmNotRunning } from '../failure.ts';
import { openVm, runnerOf, touch } from '../home/vms.ts';

const CONNECT_TIMEOUT_MS = 10_000;

export const exec: Command = {
  name: 'exec',
  overview: 'Execute a command in a running VM',
  positionals: [
    { name: 'name', help: 'VM name', passesOnTheRest: true },
    { name: 'command', help: 'Command to execute', repeating: true },
  ],
  options: [
    { names: ['--interactive', '-i'], help: 'Attach host input to a remote command' },
    { names: ['--tty', '-t'], help: 'Allocate a remote pseudo-terminal (PTY)' },
  ],
  async run(args, tartHome) {
    const vm = openVm(tartHome, args.word(0));
    touch(vm);
    if (!runnerOf(vm)) throw vmNotRunning(vm.name);
    await sleep(CONNECT_TIMEOUT_MS);
    throw new RuntimeError(
      'Failed to connect to the VM using its control socket: The operation couldn’t be completed. ' +
        '(GRPC.GRPCConnectionPoolError error 1.), is the Tart Guest Agent running?',
    );
  },
};
