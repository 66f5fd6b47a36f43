/**
 * Does `tart clone`. It prints nothing, replaces a VM of the new name, and keeps a MAC address that is free.
 */
import type { Command } from '../command.ts';
import { UsageError } from '../failure.ts';
import { isRemoteName } from '../home/image-names.ts';
import { lockHome } from '../home/lock.ts';
import { cloneVm } from '../home/vm-store.ts';
import { openVm, touch } from '../home/vms.ts';
import { pullImage } from './pull.ts';

export const clone: Command = {
  name: 'clone',
  overview: 'Clone a VM',
  positionals: [
    { name: 'source-name', help: 'source VM name' },
    { name: 'new-name', help: 'new VM name' },
  ],
  options: [
    { names: ['--insecure'], help: 'connect to the OCI registry via insecure HTTP protocol' },
    {
      names: ['--concurrency'],
      value: 'concurrency',
      max: 1_000_000,
      help: 'network concurrency to use when pulling a remote VM',
    },
    {
      names: ['--prune-limit'],
      value: 'prune-limit',
      max: 1_000_000_000,
      help: 'limit automatic pruning to n gigabytes',
    },
    { names: ['--deduplicate'], help: 'deduplicate disk contents of the OCI image' },
  ],
  validate(args) {
    if (args.word(1).includes('/')) throw new UsageError('<new-name> should be a local name');
    if (args.number('--concurrency', 4) < 1) throw new UsageError('network concurrency cannot be less than 1');
  },
  run(args, tartHome) {
    const [source, name] = [args.word(0), args.word(1)];
    if (isRemoteName(source)) pullImage(tartHome, source);
    const vm = openVm(tartHome, source);
    using _lock = lockHome(tartHome);
    touch(vm);
    cloneVm(tartHome, vm, name);
  },
};
