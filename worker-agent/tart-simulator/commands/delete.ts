/** Does `tart delete`: one VM after the other, up to the first that cannot be deleted. */
import type { Command } from '../command.ts';
import { RuntimeError, vmDoesNotExist } from '../failure.ts';
import { takeOneOf } from '../home/faults.ts';
import { deleteImage } from '../home/image-cache.ts';
import { deleteVm } from '../home/vm-store.ts';
import { openVm, runnerOf } from '../home/vms.ts';

export const deleteCommand: Command = {
  name: 'delete',
  overview: 'Delete a VM',
  positionals: [{ name: 'name', help: 'VM name', repeating: true }],
  options: [],
  run(args, tartHome) {
    for (const name of args.positionals) {
      const vm = openVm(tartHome, name);
      // Tart up to 2.39.0 does this for a VM that runs.
      if (takeOneOf(vm.folder, 'delete-lies')) throw vmDoesNotExist(name);
      if (runnerOf(vm)) throw new RuntimeError(`VM "${name}" is running`);
      if (vm.source === 'OCI') deleteImage(tartHome, vm);
      else deleteVm(tartHome, vm);
    }
  },
};
