/** Does `tart fqn`: prints the name of an image with its digest. Tart's help does not mention the command. */
import type { Command } from '../command.ts';
import { VM_NAME } from '../command.ts';
import { digestOf, isRemoteName, nameOf, parseReference } from '../home/image-names.ts';

export const fqn: Command = {
  name: 'fqn',
  overview: 'Get a fully-qualified VM name',
  positionals: [VM_NAME],
  options: [],
  run(args, tartHome) {
    const name = args.word(0);
    if (!isRemoteName(name)) return console.log(name);
    console.log(nameOf({ ...parseReference(name), reference: digestOf(tartHome, name) }));
  },
};
