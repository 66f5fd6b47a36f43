/** Does `tart pull`. */
import type { Command } from '../command.ts';
import { UsageError } from '../failure.ts';
import { isRemoteName } from '../home/image-names.ts';
import { pullImage } from '../registry/pull.ts';

export const pull: Command = {
  name: 'pull',
  overview: 'Pull a VM from a registry',
  positionals: [{ name: 'remote-name', help: 'remote VM name' }],
  options: [
    { names: ['--insecure'], help: 'connect to the OCI registry via insecure HTTP protocol' },
    { names: ['--concurrency'], value: 'concurrency', max: 1_000_000, help: 'network concurrency to use when pulling' },
    { names: ['--deduplicate'], help: 'deduplicate disk contents of the OCI image' },
  ],
  validate(args) {
    if (args.number('--concurrency', 4) < 1) throw new UsageError('network concurrency cannot be less than 1');
  },
  async run(args, tartHome) {
    const name = args.word(0);
    if (!isRemoteName(name)) return console.log(`"${name}" is a local image, nothing to pull here!`);
    console.log(`pulling ${name}...`);
    await pullImage(tartHome, name, { insecure: args.has('--insecure') });
  },
};
