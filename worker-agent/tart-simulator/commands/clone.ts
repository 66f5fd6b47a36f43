/**
 * Does `tart clone`. It prints nothing for a local source, refuses a name that is taken, and keeps a MAC
 * address that is free.
 */
import type { Arguments } from '../arguments.ts';
import type { Command } from '../command.ts';
import { UsageError } from '../failure.ts';
import { isCached, reclaim } from '../home/image-cache.ts';
import { isRemoteName, parseReference } from '../home/image-names.ts';
import { lockHome } from '../home/lock.ts';
import { cloneVm } from '../home/vm-store.ts';
import { listVms, openVm, sizeOf, touch } from '../home/vms.ts';
import { pullImage } from '../registry/pull.ts';

const GIB_BYTES = 1024 ** 3;

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
    { names: ['--overwrite'], help: 'overwrite an existing local VM' },
  ],
  validate(args) {
    if (args.word(1).includes('/')) throw new UsageError('<new-name> should be a local name');
    if (args.number('--concurrency', 4) < 1) throw new UsageError('network concurrency cannot be less than 1');
  },
  async run(args, tartHome) {
    const [source, name] = [args.word(0), args.word(1)];
    refuseExisting(args, tartHome);
    if (isRemoteName(source) && !isCached(tartHome, parseReference(source)))
      await pullImage(tartHome, source, { insecure: args.has('--insecure') });
    const vm = openVm(tartHome, source);
    using _lock = lockHome(tartHome);
    refuseExisting(args, tartHome);
    touch(vm);
    cloneVm(tartHome, vm, name);
    const { length, allocated } = sizeOf(vm);
    reclaim(tartHome, Math.min(length - allocated, args.number('--prune-limit', 100) * GIB_BYTES), vm.folder);
  },
};

/** Tart refuses this since 2.40.1; older versions replaced the VM silently. */
function refuseExisting(args: Arguments, tartHome: string): void {
  const name = args.word(1);
  if (args.has('--overwrite') || !listVms(tartHome).some((vm) => vm.source === 'local' && vm.name === name)) return;
  throw new UsageError(`VM "${name}" already exists, use --overwrite to replace it`, { rootUsage: true });
}
