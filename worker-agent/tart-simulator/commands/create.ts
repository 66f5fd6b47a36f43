/** Does `tart create`. It installs no IPSW: the VM has the simulator's guest at once. */
import type { Command } from '../command.ts';
import { VM_NAME } from '../command.ts';
import { UsageError } from '../failure.ts';
import { makeGuest, publicKeyFromEnvironment } from '../home/base-image.ts';
import { lockHome } from '../home/lock.ts';
import { createVm } from '../home/vm-store.ts';
import { GB_BYTES } from '../home/vms.ts';

export const create: Command = {
  name: 'create',
  overview: 'Create a VM',
  positionals: [VM_NAME],
  options: [
    {
      names: ['--from-ipsw'],
      value: 'path',
      help: 'create a macOS VM using path to the IPSW file or URL (or "latest")',
    },
    { names: ['--linux'], help: 'create a Linux VM' },
    { names: ['--disk-size'], value: 'disk-size', max: 65_535, help: 'Disk size in GB' },
    { names: ['--disk-format'], value: 'disk-format', oneOf: ['raw', 'asif'], help: 'Disk image format' },
  ],
  validate(args) {
    if (!args.has('--from-ipsw') && !args.has('--linux'))
      throw new UsageError('Please specify either a --from-ipsw or --linux option!');
    if (args.word(0).includes('/')) throw new UsageError('<name> should be a local name');
  },
  run(args, tartHome) {
    const guest = { user: 'admin', publicKey: publicKeyFromEnvironment() };
    using _lock = lockHome(tartHome);
    createVm(
      tartHome,
      args.word(0),
      {
        ...guest,
        os: args.has('--linux') ? 'linux' : 'darwin',
        diskBytes: args.number('--disk-size', 50) * GB_BYTES,
        diskFormat: args.value('--disk-format') === 'asif' ? 'asif' : 'raw',
      },
      (root) => makeGuest(root, guest),
    );
  },
};
