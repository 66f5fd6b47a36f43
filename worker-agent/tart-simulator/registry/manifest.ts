/** Writes and reads the manifests of images, in Tart's form. Pure. */
import { createHash } from 'node:crypto';

export const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
export const LAYER_TYPES = {
  config: 'application/vnd.cirruslabs.tart.config.v1',
  disk: 'application/vnd.cirruslabs.tart.disk.v2',
  nvram: 'application/vnd.cirruslabs.tart.nvram.v1',
} as const;
export const DISK_SIZE = 'org.cirruslabs.tart.uncompressed-disk-size';
export const LAYER_SIZE = 'org.cirruslabs.tart.uncompressed-size';

export interface Layer {
  mediaType: string;
  /** Compressed. With a simulated disk this is larger than the blob. */
  size: number;
  digest: string;
  annotations?: Record<string, string>;
}

export interface Manifest {
  schemaVersion: 2;
  mediaType: string;
  config: { mediaType: string; size: number; digest: string };
  layers: Layer[];
  annotations: Record<string, string>;
}

export const digestOfBytes = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

export const layersOf = ({ layers }: Manifest, kind: keyof typeof LAYER_TYPES) =>
  layers.filter(({ mediaType }) => mediaType === LAYER_TYPES[kind]);

/** Throws for a manifest that is not one of Tart. */
export function onlyLayer(manifest: Manifest, kind: 'config' | 'nvram'): Layer {
  const [layer, ...others] = layersOf(manifest, kind);
  if (!layer || others.length > 0) throw new Error('ShouldBeExactlyOneLayer');
  return layer;
}
