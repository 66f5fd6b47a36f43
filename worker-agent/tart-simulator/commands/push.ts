/** Does `tart push`: pushes a local VM, or an image in the cache, of which it pushes only the manifest. */
import type { Command } from '../command.ts';
import { RuntimeError } from '../failure.ts';
import { isCached, nameImage, putImage } from '../home/image-cache.ts';
import { digestOf, type ImageReference, isDigest, isRemoteName, parseReference } from '../home/image-names.ts';
import { copyVm, makeDraft } from '../home/vm-store.ts';
import { openVm, runnerOf, type Vm } from '../home/vms.ts';
import { OciRegistry } from '../registry/oci-registry.ts';
import { digestNameOf, pushManifests, pushVm } from '../registry/push.ts';

export const push: Command = {
  name: 'push',
  overview: 'Push a VM to a registry',
  positionals: [
    { name: 'local-name', help: 'local or remote VM name' },
    { name: 'remote-names', help: 'remote VM name(s)', repeating: true },
  ],
  options: [
    { names: ['--insecure'], help: 'connect to the OCI registry via insecure HTTP protocol' },
    { names: ['--concurrency'], value: 'concurrency', max: 1_000_000, help: 'network concurrency to use when pushing' },
    { names: ['--chunk-size'], value: 'chunk-size', max: 1_000_000, help: 'chunk size in MB' },
    { names: ['--label'], value: 'label', help: 'additional metadata in key=value format' },
    { names: ['--populate-cache'], help: 'cache pushed images locally' },
  ],
  async run(args, tartHome) {
    const [localName, ...remoteNames] = [args.word(0), ...args.positionals.slice(1)];
    const vm = openVm(tartHome, localName);
    if (runnerOf(vm)) throw new RuntimeError(`VM "${localName}" is running`);
    for (const names of groups(remoteNames.map(parseReference))) {
      const [first] = names as [ImageReference];
      const registry = new OciRegistry(first.host, first.namespace, { insecure: args.has('--insecure') });
      const shown = names.map(({ reference }) => `${isDigest(reference) ? '@' : ':'}${reference}`);
      const suffix = shown.length === 1 ? shown[0] : `{${shown.join(',')}}`;
      console.log(`pushing ${localName} to ${first.host}/${first.namespace}${suffix}...`);
      const references = names.map(({ reference }) => reference);
      if (isRemoteName(localName)) {
        const { text } = await registry.pullManifest(digestOf(tartHome, localName));
        await pushManifests(registry, references, text);
      } else {
        const pushed = digestNameOf(first, await pushVm(tartHome, vm, registry, references));
        if (args.has('--populate-cache')) populate(tartHome, vm, pushed, names);
      }
    }
  },
};

function populate(tartHome: string, vm: Vm, pushed: ImageReference, names: readonly ImageReference[]): void {
  if (!isCached(tartHome, pushed)) {
    const draft = makeDraft(tartHome);
    copyVm(vm, draft);
    putImage(tartHome, draft, pushed);
  }
  for (const name of names) nameImage(tartHome, name, pushed);
}

/** Names of one repository are pushed together. */
function groups(names: readonly ImageReference[]): ImageReference[][] {
  return Object.values(Object.groupBy(names, ({ host, namespace }) => `${host}/${namespace}`)) as ImageReference[][];
}
