/** Does `tart rename`. It refuses as if the usage of Tart itself was wrong. */
import type { Command } from '../command.ts';
import { UsageError } from '../failure.ts';
import { renameVm } from '../home/vm-store.ts';
import { listVms } from '../home/vms.ts';

export const rename: Command = {
  name: 'rename',
  overview: 'Rename a local VM',
  positionals: [
    { name: 'name', help: 'VM name' },
    { name: 'new-name', help: 'new VM name' },
  ],
  options: [],
  validate(args) {
    if (args.word(1).includes('/')) throw new UsageError('<new-name> should be a local name');
  },
  run(args, tartHome) {
    const [name, newName] = [args.word(0), args.word(1)];
    const local = listVms(tartHome).filter((vm) => vm.source === 'local');
    const vm = local.find((candidate) => candidate.name === name);
    if (!vm) throw new UsageError(`failed to rename a non-existent local VM: ${name}`, { rootUsage: true });
    if (local.some((candidate) => candidate.name === newName))
      throw new UsageError(`failed to rename VM ${name}, target VM ${newName} already exists, delete it first!`, {
        rootUsage: true,
      });
    renameVm(tartHome, vm, newName);
  },
};
