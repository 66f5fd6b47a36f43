/**
 * Says what a build requires of a worker beside its pool, and which worker meets it. Pure.
 *
 * Invariant: a worker gets a build only if it offers the build's pair of image and platform. A build that
 * asks for no image gets the default image that a worker has for the platform. An older agent offers no
 * images, and meets builds that ask for none.
 */
import type { AttemptImage, ImageOffer, PLATFORMS } from '#contract';

export interface Requirement {
  platform: (typeof PLATFORMS)[number];
  /** Null: the default image of the worker. */
  image: string | null;
}

interface Offering {
  platforms: readonly Requirement['platform'][];
  images: readonly ImageOffer[];
}

/** All requirements that the worker meets, each once. */
export function metBy({ platforms, images }: Offering): Requirement[] {
  if (images.length === 0) return platforms.map((platform) => ({ platform, image: null }));
  return platforms.flatMap((platform) => {
    const offered = images.filter((offer) => offer.platform === platform);
    const names: (string | null)[] = offered.map(({ name }) => name);
    if (offered.some(({ isDefault }) => isDefault)) names.push(null);
    return [...new Set(names)].map((image) => ({ platform, image }));
  });
}

export const isMetBy = (requirements: readonly Requirement[], { platform, image }: Requirement): boolean =>
  requirements.some((met) => met.platform === platform && met.image === image);

/** The offer that meets it. Null if there is none: an older agent offers nothing. */
export function offerFor(images: readonly ImageOffer[], { platform, image }: Requirement): AttemptImage | null {
  const offer = images.find(
    (one) => one.platform === platform && (image === null ? one.isDefault : one.name === image),
  );
  return offer ? { name: offer.name, digest: offer.digest, provisioned: offer.provisioned } : null;
}

/** The image that the build asks for, in words. */
export const wordsForImage = ({ platform, image }: Requirement): string =>
  `${image === null ? 'a default image' : `image ${image}`} for ${platform}`;
