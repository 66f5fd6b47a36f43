/** Does `tart suspend`: asks `tart run` to save the VM, and returns at once. */
import type { Command } from '../command.ts';
import { VM_NAME } from '../command.ts';
import { RuntimeError } from '../failure.ts';
import { openVm, runnerOf, touch } from '../home/vms.ts';

export const suspend: Command = {
  name: 'suspend',
  overview: 'Suspend a VM',
  positionals: [VM_NAME],
  options: [],
  run(args, tartHome) {
    const vm = openVm(tartHome, args.word(0));
    touch(vm);
    const runner = runnerOf(vm);
    // Tart nests the message in itself.
    if (!runner) throw new RuntimeError(`VM "VM "${vm.name}" is not running" is not running`, 2);
    process.kill(runner.pid, 'SIGUSR1');
  },
};
