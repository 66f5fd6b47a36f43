/** Defines the lines that carry a build or an artifact as the contract describes it. */
import { z } from 'zod';
import { Artifact, Build } from '#contract';

export const BUILD_LINES = [
  /** While a build is followed: at first, at each change of its status or attempt, and at its end. */
  z.strictObject({ type: z.literal('build'), build: Build }),
  /** `path` is where it lies on this disk, or null if it was not downloaded. */
  z.strictObject({
    type: z.literal('artifact'),
    buildId: z.string(),
    artifact: Artifact,
    path: z.string().nullable(),
  }),
] as const;
