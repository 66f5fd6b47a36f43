/**
 * Reads `vm-image/public-images`: the images that a base image can be made from, with their sizes.
 *
 * Owns nothing: create-base-image.sh reads the same file.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { VM_IMAGE } from '../vm-image.ts';
import type { ImageSize } from './disk-plan.ts';

export interface PublicImage {
  name: string;
  /** `HOST/NAME@DIGEST`, or `HOST/NAME:TAG` where no public source gives the digest. */
  reference: string;
  hasXcode: boolean;
  size: ImageSize;
}

/** The room of Xcode, unpacked from its archive, and of the platform that is downloaded for it. */
const OWN_XCODE_GB = 30;

export function readPublicImages(): PublicImage[] {
  const rows = readFileSync(join(VM_IMAGE, 'public-images'), 'utf8').split('\n');
  return rows
    .filter((row) => /^[a-z]/.test(row))
    .map((row) => {
      const [name, repository, tag, digest, download, unpacked, , , , xcode] = row.split(/ +/) as string[];
      const reference = digest === '-' ? `${repository}:${tag}` : `${repository}@${digest}`;
      const size = { downloadGb: Number(download), unpackedGb: Number(unpacked) };
      return { name: name!, reference, hasXcode: xcode !== '-', size };
    });
}

/** Where an image comes from, and how large it is. */
export interface ImageSource {
  /** Null for a VM of this Mac. */
  reference: string | null;
  words: string;
  size: ImageSize;
  /** False if the size is unknown. Then the size of the largest public image is given. */
  isSizeKnown: boolean;
}

/**
 * The source that `--from` and `--xcode` name, as create-base-image.sh understands them. `localVms` has the
 * VMs of this Mac, and the GB that each takes.
 */
export function sourceOf(
  { from, ownXcode }: { from?: string | undefined; ownXcode: boolean },
  localVms: ReadonlyMap<string, number>,
  images: readonly PublicImage[] = readPublicImages(),
): ImageSource {
  const moreGb = ownXcode ? OWN_XCODE_GB : 0;
  const localGb = from === undefined ? undefined : localVms.get(from);
  if (localGb !== undefined)
    return {
      reference: null,
      words: `the VM ${from}`,
      size: { downloadGb: 0, unpackedGb: localGb + moreGb },
      isSizeKnown: true,
    };
  const usual = images.find(({ hasXcode }) => hasXcode !== ownXcode)!;
  const known = from === undefined ? usual : images.find(({ name, reference }) => name === from || reference === from);
  const { size, reference } = known ?? { size: sizeOfLargest(images), reference: from! };
  return {
    reference,
    words: known?.name ?? from!,
    size: { ...size, unpackedGb: size.unpackedGb + moreGb },
    isSizeKnown: known !== undefined,
  };
}

/** For an image of unknown size. */
export const sizeOfLargest = (images: readonly PublicImage[] = readPublicImages()): ImageSize => ({
  downloadGb: Math.max(...images.map(({ size }) => size.downloadGb)),
  unpackedGb: Math.max(...images.map(({ size }) => size.unpackedGb)),
});
