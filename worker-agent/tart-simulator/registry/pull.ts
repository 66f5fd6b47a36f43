/**
 * Brings an image into the cache. Images of a registry on this machine come over the registry's protocol.
 * There is no other network here, so an image of any other registry is the simulator's own base image, with
 * the sizes of a public image.
 *
 * Invariant: like Tart, it believes the registry. It keeps the image under the digest of the received
 * manifest. If another digest was asked for, that one becomes a link to it.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { makeGuest, publicKeyFromEnvironment } from '../home/base-image.ts';
import { isCached, isLinked, nameImage, putImage, reclaim } from '../home/image-cache.ts';
import { type ImageReference, imageFolder, isDigest, nameOf, parseReference } from '../home/image-names.ts';
import { lockHost } from '../home/lock.ts';
import { allocate, bytesOf, readDisk, XCODE_IMAGE } from '../home/simulated-disk.ts';
import { readConfig, writeConfig } from '../home/vm-config.ts';
import { fillVm, makeDisk, makeDraft } from '../home/vm-store.ts';
import { touch } from '../home/vms.ts';
import { DISK_SIZE, layersOf, type Manifest, onlyLayer } from './manifest.ts';
import { OciRegistry } from './oci-registry.ts';
import { Progress } from './progress.ts';
import { again, DISK_LAYERS } from './push.ts';

/** Tart requires this room for the other files beside the disk. */
const OTHER_FILES_BYTES = 128 * 1024 ** 2;
/** The claimed size of the simulator's own image if the disk is not simulated. */
const OWN_BYTES = 1e8;

/** The image that a registry has under a name. */
interface Offer {
  digest: string;
  compressedBytes: number;
  diskBytes: number;
  /** Writes the files of a VM into the folder. Calls `progress` when it reaches the disk. */
  fill(draft: string, progress: () => Progress): Promise<void>;
}

export async function pullImage(home: string, reference: string, { insecure }: { insecure: boolean }): Promise<void> {
  const name = parseReference(reference);
  console.log('pulling manifest...');
  const offer = isOnThisMachine(name.host) ? await offerOfRegistry(home, name, insecure) : ownOffer(home, name);
  const digestName: ImageReference = { ...name, reference: offer.digest };
  if (isLinked(home, name, digestName) && isCached(home, digestName))
    return console.log(`${nameOf(digestName)} image is already cached and linked!`);
  using _lock = await lockHost(home, name.host, () => console.log('waiting for lock...'));
  if (isCached(home, digestName)) console.log(`${nameOf(digestName)} image is already cached! creating a symlink...`);
  else {
    reclaim(home, offer.diskBytes + OTHER_FILES_BYTES);
    const draft = makeDraft(home);
    await offer.fill(draft, () => {
      console.log(`pulling disk (${(offer.compressedBytes / 1e9).toFixed(1)} GB compressed)...`);
      return new Progress(offer.compressedBytes);
    });
    putImage(home, draft, digestName);
  }
  nameImage(home, name, digestName);
  touch({ name: reference, source: 'OCI', folder: imageFolder(home, reference) });
}

function isOnThisMachine(host: string): boolean {
  const name = host.replace(/:\d+$/, '');
  return name === 'localhost' || /^127(\.\d{1,3}){3}$/.test(name);
}

async function offerOfRegistry(home: string, name: ImageReference, insecure: boolean): Promise<Offer> {
  const registry = new OciRegistry(name.host, name.namespace, { insecure });
  const { manifest, digest, text } = await registry.pullManifest(name.reference);
  const disk = layersOf(manifest, 'disk');
  return {
    digest,
    compressedBytes: disk.reduce((sum, { size }) => sum + size, 0),
    diskBytes: Number(manifest.annotations[DISK_SIZE]),
    async fill(draft, progress) {
      const tell = (error: Error) => console.log(`Error pulling image: "${error.message}", attempting to re-try...`);
      writeFileSync(join(draft, 'config.json'), await again(() => blob(registry, manifest, 'config'), tell));
      const config = readConfig({ folder: draft });
      const bytes = bytesOf(config.simulator.extents ?? []);
      writeConfig({ folder: draft }, { ...config, simulator: { ...config.simulator, extents: [] } });
      await pullDisk(home, draft, registry, manifest, bytes, progress());
      console.log('pulling NVRAM...');
      writeFileSync(join(draft, 'nvram.bin'), await again(() => blob(registry, manifest, 'nvram'), tell));
      makeDisk(draft, Number(manifest.annotations[DISK_SIZE]));
      writeFileSync(join(draft, 'manifest.json'), text);
    },
  };
}

async function pullDisk(
  home: string,
  draft: string,
  registry: OciRegistry,
  manifest: Manifest,
  allocatedBytes: number,
  progress: Progress,
): Promise<void> {
  const layers = layersOf(manifest, 'disk');
  const file = join(draft, 'disk.tar.gz');
  const archive = openSync(file, 'w');
  for (const [index, { digest, size }] of layers.entries()) {
    allocate(home, draft, Math.round(allocatedBytes / layers.length));
    let brought = 0;
    await again(
      () =>
        registry.pullBlob(digest, brought, (part) => {
          brought += writeSync(archive, part);
        }),
      (error) => console.log(`Error pulling disk layer ${index + 1}: "${error.message}", attempting to re-try...`),
    );
    progress.add(size);
  }
  closeSync(archive);
  const unpacked = spawnSync('tar', ['-xzf', file, '-C', draft], { encoding: 'utf8', timeout: 120_000 });
  if (unpacked.status !== 0) throw new Error(`failed to decompress disk: ${unpacked.stderr}`);
  rmSync(file);
}

async function blob(registry: OciRegistry, manifest: Manifest, kind: 'config' | 'nvram'): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  await registry.pullBlob(onlyLayer(manifest, kind).digest, 0, (part) => parts.push(part));
  return Buffer.concat(parts);
}

/**
 * The user of the image is `admin`, as in the public images, and TART_SIM_PUBLIC_KEY names the file with the
 * key that may log in.
 */
function ownOffer(home: string, name: ImageReference): Offer {
  const disk = readDisk(home);
  const sizes = disk && (disk.image ?? XCODE_IMAGE);
  const diskBytes = sizes?.diskBytes ?? 50e9;
  return {
    digest: isDigest(name.reference) ? name.reference : digestOfName(name),
    compressedBytes: sizes?.compressedBytes ?? OWN_BYTES,
    diskBytes,
    async fill(draft, progress) {
      const options = { user: 'admin', publicKey: publicKeyFromEnvironment(), diskBytes };
      fillVm(draft, options, (root) => makeGuest(root, options));
      const shown = progress();
      for (let layer = 0; layer < DISK_LAYERS; layer++) {
        allocate(home, draft, (sizes?.allocatedBytes ?? 0) / DISK_LAYERS);
        shown.add((sizes?.compressedBytes ?? OWN_BYTES) / DISK_LAYERS);
      }
      console.log('pulling NVRAM...');
      writeFileSync(join(draft, 'manifest.json'), '{}\n');
    },
  };
}

const digestOfName = (name: ImageReference) => `sha256:${createHash('sha256').update(nameOf(name)).digest('hex')}`;
