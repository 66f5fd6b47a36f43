/** Does `tart prune`: removes images and downloaded IPSWs, or local VMs, by their age or their size. */
import type { Command } from '../command.ts';
import { UsageError } from '../failure.ts';
import { cachedThings, collectImages } from '../home/image-cache.ts';
import { deleteVm } from '../home/vm-store.ts';
import { accessedAt, listVms, runnerOf, sizeOf } from '../home/vms.ts';

const DAY_MS = 86_400_000;
const GIB_BYTES = 1024 ** 3;

export const prune: Command = {
  name: 'prune',
  overview: 'Prune OCI and IPSW caches or local VMs',
  positionals: [],
  options: [
    { names: ['--entries'], value: 'entries', help: 'Entries to remove: "caches" or "vms"' },
    { names: ['--older-than'], value: 'n', max: 1_000_000, help: 'Remove entries last accessed more than n days ago' },
    { names: ['--space-budget'], value: 'n', max: 1_000_000, help: 'Remove what does not fit into n gigabytes' },
    { names: ['--gc'], help: 'Remove images that nothing leads to' },
  ],
  validate(args) {
    if (!['--older-than', '--space-budget', '--gc'].some((name) => args.has(name)))
      throw new UsageError('at least one pruning criteria must be specified');
  },
  run(args, tartHome) {
    if (args.has('--gc')) collectImages(tartHome);
    const entries = args.value('--entries') ?? 'caches';
    if (entries !== 'caches' && entries !== 'vms')
      throw new UsageError('unsupported --entries value, please specify either "caches" or "vms"', { rootUsage: true });
    const things = () => (entries === 'caches' ? cachedThings(tartHome) : localVms(tartHome));
    if (args.has('--older-than')) {
      const before = Date.now() - args.number('--older-than', 0) * DAY_MS;
      for (const thing of things()) if (thing.accessedAt.getTime() <= before) thing.remove();
    }
    if (args.has('--space-budget')) {
      let left = args.number('--space-budget', 0) * GIB_BYTES;
      for (const thing of things().reverse()) {
        if (thing.bytes <= left) left -= thing.bytes;
        else thing.remove();
      }
    }
  },
};

function localVms(tartHome: string) {
  return listVms(tartHome)
    .filter((vm) => vm.source === 'local' && !runnerOf(vm))
    .map((vm) => ({
      accessedAt: accessedAt(vm),
      bytes: sizeOf(vm).allocated,
      remove: () => deleteVm(tartHome, vm),
    }))
    .sort((a, b) => a.accessedAt.getTime() - b.accessedAt.getTime());
}
