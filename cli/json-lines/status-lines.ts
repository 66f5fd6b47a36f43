/** Defines the line of `status --json`. */
import { z } from 'zod';
import { BuildDetail } from '#contract';

export const STATUS_LINES = [z.strictObject({ type: z.literal('build_detail'), build: BuildDetail })] as const;
