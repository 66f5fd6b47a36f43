/**
 * Sends a VM to a registry. The content of its disk is the archive of the guest's folder, cut into layers as
 * Tart cuts a disk.
 *
 * A VM with extents on a simulated disk has layers whose sizes in the manifest are those of a real image, so
 * that a reader of the manifest computes with real sizes.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ImageReference } from '../home/image-names.ts';
import { bytesOf, extentsIn, XCODE_IMAGE } from '../home/simulated-disk.ts';
import { readConfig } from '../home/vm-config.ts';
import { makeDraft } from '../home/vm-store.ts';
import { sizeOf, type Vm } from '../home/vms.ts';
import {
  DISK_SIZE,
  digestOfBytes,
  LAYER_SIZE,
  LAYER_TYPES,
  type Layer,
  MANIFEST_TYPE,
  type Manifest,
} from './manifest.ts';
import { NetworkError, type OciRegistry } from './oci-registry.ts';
import { Progress } from './progress.ts';

export const DISK_LAYERS = 8;
const TRIES = 5;
const TRY_AGAIN_MS = 200;
/** The size of a compressed disk, as a share of its size on the disk. */
const COMPRESSION = XCODE_IMAGE.compressedBytes / XCODE_IMAGE.allocatedBytes;

/** Returns the manifest as it was sent. */
export async function pushVm(
  home: string,
  vm: Vm,
  registry: OciRegistry,
  references: readonly string[],
): Promise<string> {
  const layers: Layer[] = [];
  console.log('pushing config...');
  const config = Buffer.from(JSON.stringify(readConfig(vm)));
  layers.push({ mediaType: LAYER_TYPES.config, size: config.length, digest: await registry.pushBlob(config) });
  console.log('pushing disk... this will take a while...');
  layers.push(...(await pushDisk(home, vm, registry)));
  console.log('pushing NVRAM...');
  const nvram = readFileSync(join(vm.folder, 'nvram.bin'));
  layers.push({ mediaType: LAYER_TYPES.nvram, size: nvram.length, digest: await registry.pushBlob(nvram) });
  const about = Buffer.from(JSON.stringify({ architecture: 'arm64', os: readConfig(vm).os }));
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      size: about.length,
      digest: await registry.pushBlob(about),
    },
    layers,
    annotations: {
      [DISK_SIZE]: String(statSync(join(vm.folder, 'disk.img')).size),
      'org.cirruslabs.tart.upload-time': new Date().toISOString(),
    },
  };
  const text = JSON.stringify(manifest);
  await pushManifests(registry, references, text);
  return text;
}

export async function pushManifests(registry: OciRegistry, references: readonly string[], text: string): Promise<void> {
  for (const reference of references) {
    console.log(`pushing manifest for ${reference}...`);
    await registry.pushManifest(reference, text);
  }
}

export const digestNameOf = (name: ImageReference, manifest: string): ImageReference => ({
  ...name,
  reference: digestOfBytes(Buffer.from(manifest)),
});

async function pushDisk(home: string, vm: Vm, registry: OciRegistry): Promise<Layer[]> {
  const bytes = archiveOf(home, vm);
  const allocated = bytesOf(extentsIn(vm.folder));
  const chunkBytes = Math.max(1, Math.ceil(bytes.length / DISK_LAYERS));
  const count = Math.max(1, Math.ceil(bytes.length / chunkBytes));
  const progress = new Progress(bytes.length);
  const layers: Layer[] = [];
  for (let index = 0; index < count; index++) {
    const chunk = bytes.subarray(index * chunkBytes, (index + 1) * chunkBytes);
    const digest = await again(
      async () => ((await registry.hasBlob(digestOfBytes(chunk))) ? digestOfBytes(chunk) : registry.pushBlob(chunk)),
      (error) => console.log(`Error: ${error.message}\nAttempting to re-try...`),
    );
    progress.add(chunk.length);
    layers.push({
      mediaType: LAYER_TYPES.disk,
      size: allocated > 0 ? Math.round((allocated * COMPRESSION) / count) : chunk.length,
      digest,
      annotations: {
        [LAYER_SIZE]: String(Math.floor(sizeOf(vm).length / count)),
        'org.cirruslabs.tart.uncompressed-content-digest': digest,
      },
    });
  }
  return layers;
}

function archiveOf(home: string, vm: Vm): Buffer {
  const draft = makeDraft(home);
  const file = join(draft, 'disk.tar.gz');
  const packed = spawnSync('tar', ['-czf', file, '-C', vm.folder, 'guest'], { encoding: 'utf8', timeout: 120_000 });
  if (packed.status !== 0) throw new Error(`tar: ${packed.stderr}`);
  const bytes = readFileSync(file);
  rmSync(draft, { recursive: true });
  return bytes;
}

/** Tries again after a failure of the network, and reports each failure. */
export async function again<T>(work: () => Promise<T>, onFailure: (error: Error) => void): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof NetworkError) || tries === TRIES) throw error;
      onFailure(error);
      await sleep(TRY_AGAIN_MS * 2 ** tries);
    }
  }
}
