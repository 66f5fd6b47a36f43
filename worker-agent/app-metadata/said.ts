/**
 * Defines the findings of a reading of an app: texts as the file has them. The agent checks them again,
 * because the output of a child is no better than the file that it has read.
 */
import type { APP_KINDS, AppSigning } from '#contract';

export type AppKind = (typeof APP_KINDS)[number];

export interface Said {
  platform: 'ios' | 'android';
  id: string | null;
  name: string | null;
  version: string | null;
  buildNumber: string | null;
  minimumSystem: string | null;
  signing: AppSigning | null;
  profileExpiresAt: string | null;
  devices: number | null;
  usesNonExemptEncryption: boolean | null;
  debuggable: boolean | null;
  /** A PNG. */
  icon: Buffer | null;
}

/** Longer texts are cut off here, and once more when the agent checks them. */
const TEXT_MAX = 1_024;

export const textIn = (value: unknown): string | null =>
  typeof value === 'string' && value !== '' ? value.slice(0, TEXT_MAX) : null;
