/**
 * Does `tart pull`, without a registry: it brings the simulator's own base image. The user of the image is
 * `admin`, as in the public images, and TART_SIM_PUBLIC_KEY names the file with the key that may log in.
 */
import { randomUUID } from 'node:crypto';
import type { Command } from '../command.ts';
import { RuntimeError } from '../failure.ts';
import { makeGuest, publicKeyFromEnvironment } from '../home/base-image.ts';
import { isRemoteName } from '../home/image-names.ts';
import { lockHome } from '../home/lock.ts';
import { cacheImage, createVm, deleteVm } from '../home/vm-store.ts';
import { openVm, vmFolder } from '../home/vms.ts';

export const pull: Command = {
  name: 'pull',
  overview: 'Pull a VM from a registry',
  positionals: [{ name: 'remote-name', help: 'remote VM name' }],
  options: [
    { names: ['--insecure'], help: 'connect to the OCI registry via insecure HTTP protocol' },
    { names: ['--concurrency'], value: 'concurrency', max: 1_000_000, help: 'network concurrency to use when pulling' },
    { names: ['--deduplicate'], help: 'deduplicate disk contents of the OCI image' },
  ],
  run(args, tartHome) {
    const name = args.word(0);
    if (!isRemoteName(name)) return void console.log(`"${name}" is a local image, nothing to pull here!`);
    pullImage(tartHome, name, true);
  },
};

/** Brings the image into the cache, and prints what Tart prints. */
export function pullImage(tartHome: string, reference: string, explain = false): void {
  vmFolder(tartHome, reference); // throws if this is not the name of an image
  using _lock = lockHome(tartHome);
  if (isCached(tartHome, reference)) {
    if (explain) console.log(`${reference} image is already cached and linked!`);
    return;
  }
  for (const line of [
    `pulling ${reference}...`,
    'pulling manifest...',
    'pulling disk (0.1 GB compressed)...',
    '0%',
    '100%',
    'pulling NVRAM...',
  ])
    console.log(line);
  const draft = `pull-${randomUUID()}`;
  const options = { user: 'admin', publicKey: publicKeyFromEnvironment() };
  createVm(tartHome, draft, options, (root) => makeGuest(root, options));
  const vm = openVm(tartHome, draft);
  cacheImage(tartHome, vm, reference);
  deleteVm(tartHome, vm);
}

function isCached(tartHome: string, reference: string): boolean {
  try {
    openVm(tartHome, reference);
    return true;
  } catch (error) {
    if (error instanceof RuntimeError) return false;
    throw error;
  }
}
