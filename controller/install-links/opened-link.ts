/** Describes what a link opens, as page and manifest show it. Pure. */
import type { ArtifactApp } from '#contract';
import type { Way } from './installable.ts';

export interface OpenedLink {
  token: string;
  /** The address of the page. What belongs to it lies below. */
  url: string;
  expiresAt: number;
  way: Way;
  app: ArtifactApp;
  /** The name of the artifact without its folders. */
  fileName: string;
  sha256: string;
  size: number;
  commit: string | null;
  branch: string | null;
}

/** The path of what belongs to the page, below the controller's own address. */
export const fileOf = ({ fileName }: Pick<OpenedLink, 'fileName'>): string => `file/${encodeURIComponent(fileName)}`;
