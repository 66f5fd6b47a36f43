/** Defines the lines of `open` and `links` under `--json`. */
import { z } from 'zod';
import { Link, LinkCreated } from '#contract';

export const LINK_LINES = [
  /** A link as it was made. No other line has its address. */
  z.strictObject({ type: z.literal('link_created'), link: LinkCreated }),
  /** A link as listed, or as it was revoked. */
  z.strictObject({ type: z.literal('link'), link: Link }),
] as const;
