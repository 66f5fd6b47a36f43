/** Describes what a link opens, as page and manifest show it. Pure. */
import type { ArtifactApp } from '#contract';
import type { Way } from './installable.ts';

export interface OpenedLink {
  token: string;
  /** The address of the page. Its manifest, icon and file lie below it. */
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

/** The path of the file, below the address of the page. */
export const fileOf = ({ fileName }: Pick<OpenedLink, 'fileName'>): string => `file/${encodeURIComponent(fileName)}`;
