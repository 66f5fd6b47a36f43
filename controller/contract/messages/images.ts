/**
 * Defines images, from which VMs are cloned. A worker offers them by name, a build asks for one by name, and
 * an admin may say which one the Macs of a pool should have.
 */
import { z } from 'zod';
import { PLATFORMS } from '../closed-lists.ts';
import { Id, Sha256, text, time } from '../fields.ts';
import { IMAGE_FETCHES_AT_ONCE_MAX, IMAGE_MESSAGE_MAX, IMAGE_OFFERS_MAX, IMAGES_OF_POOL_MAX } from '../sizes.ts';

/** An image in a registry. Only a digest names one image, because a tag can move to another. */
export const ImageReference = z
  .string()
  .max(512)
  .regex(
    /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?(\/[a-z0-9]+([._-]+[a-z0-9]+)*)+@sha256:[0-9a-f]{64}$/,
    'must be HOST/NAME@sha256:DIGEST, with the digest of the image and not a tag',
  );

/** The digest of an image in a registry. */
export const ImageDigest = z.string().regex(/^sha256:[0-9a-f]{64}$/, 'must be sha256: and 64 lower-case hex digits');

/** The content of an image. Two Macs with the same `digest` and `provisioned` build alike. */
export const ImageIdentity = z.object({
  /** Of the public image that it was first made from. Null: an older agent made it, and nobody knows. */
  digest: ImageDigest.nullable(),
  /** A hash of everything that was installed on top of it, without the keys of the Mac. */
  provisioned: Sha256.nullable(),
});
export type ImageIdentity = z.infer<typeof ImageIdentity>;

/** One pair of image and platform that a worker offers. */
export const ImageOffer = z.object({
  name: Id,
  platform: z.enum(PLATFORMS),
  /** True if a build that asks for no image gets this one. One image is the default of each platform. */
  isDefault: z.boolean(),
  ...ImageIdentity.shape,
});
export type ImageOffer = z.infer<typeof ImageOffer>;

export const ImageOffers = z.array(ImageOffer).min(1).max(IMAGE_OFFERS_MAX);

/** The image that the VM of an attempt was cloned from. */
export const AttemptImage = z.object({ name: z.string(), ...ImageIdentity.shape });
export type AttemptImage = z.infer<typeof AttemptImage>;

/** Says which image the Macs of a pool should have under a name. */
export const PoolImageRequest = z.strictObject({
  reference: ImageReference,
  /** How many Macs of the pool may fetch it at once. */
  atOnce: z.number().int().min(1).max(IMAGE_FETCHES_AT_ONCE_MAX).default(1),
});
export type PoolImageRequest = z.infer<typeof PoolImageRequest>;

/** The steps of an agent towards an image that its pool should have. */
export const IMAGE_FETCH_STATES = ['waiting', 'fetching', 'provisioning', 'checking', 'done', 'failed'] as const;

export const ImageFetch = z.object({
  name: Id,
  reference: ImageReference,
  state: z.enum(IMAGE_FETCH_STATES),
  /** Of the download. Null in the other states. */
  percent: z.number().int().min(0).max(100).nullable().default(null),
  /** Why it waits, or why it failed. */
  message: text(IMAGE_MESSAGE_MAX).default(''),
});
export type ImageFetch = z.infer<typeof ImageFetch>;

export const ImageFetches = z.array(ImageFetch).max(IMAGES_OF_POOL_MAX);

/** An image that a worker should have, because one of its pools names it. */
export const WantedImage = z.object({
  name: Id,
  reference: ImageReference,
  /** True while it is this worker's turn to fetch it. */
  mayFetch: z.boolean(),
});
export type WantedImage = z.infer<typeof WantedImage>;

export const PoolImage = z.object({
  pool: Id,
  name: Id,
  reference: ImageReference,
  atOnce: z.number().int(),
  setAt: time,
  /** The progress of each worker of the pool that has reported it. */
  workers: z.array(
    ImageFetch.pick({ state: true, percent: true, message: true }).extend({ id: z.string(), name: z.string() }),
  ),
});
export type PoolImage = z.infer<typeof PoolImage>;

export const PoolImageList = z.object({ images: z.array(PoolImage) });
export type PoolImageList = z.infer<typeof PoolImageList>;
