/** Does `tart delete`: one VM after the other, up to the first that cannot be deleted. */
import type { Command } from '../command.ts';
import { RuntimeError } from '../failure.ts';
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
      if (runnerOf(vm)) throw new RuntimeError(`VM "${name}" is running`);
      if (vm.source === 'OCI') deleteImage(tartHome, vm);
      else deleteVm(tartHome, vm);
    }
  },
};
