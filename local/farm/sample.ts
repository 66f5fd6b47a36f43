/**
 * Defines how the sample project is built, and the bytes of its artifact. This module computes the expected
 * bytes from the sources and not from the build, so that a wrong artifact is noticed.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BuildRequestInput } from '#contract';

export const SAMPLE_DIR = join(import.meta.dirname, '../sample-project');
export const SAMPLE_ARTIFACT = 'dist/app.bundle';

/** `pauseSeconds` is how long each of its six pieces of work takes. */
export const sampleRequest = ({ pauseSeconds = 1 } = {}): Omit<BuildRequestInput, 'source'> => ({
  command: './build.sh',
  platform: 'ios',
  artifacts: [SAMPLE_ARTIFACT],
  env: { SAMPLE_PAUSE_SECONDS: String(pauseSeconds) },
});

export async function expectedSampleArtifact(): Promise<Buffer> {
  const names = (await readdir(join(SAMPLE_DIR, 'src'))).filter((name) => name.endsWith('.txt')).sort();
  const screens = await Promise.all(
    names.map(async (name) => {
      const text = await readFile(join(SAMPLE_DIR, 'src', name), 'utf8');
      return `screen ${name.slice(0, -'.txt'.length)}\n${text.replace(/^(?=.)/gm, '  ')}`;
    }),
  );
  return Buffer.from(`tartbeat sample bundle 1\n${screens.join('')}end\n`);
}
