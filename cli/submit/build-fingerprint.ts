/**
 * Decides which fingerprint a build carries, by which Expo's build cache finds it.
 *
 * Invariant: code of the project runs only if the source is the person's own: not for a fork's pull request,
 * nor with `--untrusted`. The controller would offer such a build to nobody.
 */
import { join } from 'node:path';
import { resolveProfile } from '../../client/project/build-profile.ts';
import { readEasJson } from '../../client/project/eas-json.ts';
import { fingerprintOf, isForDevelopment } from '../build-cache/fingerprint.ts';
import type { RequestFlags } from './build-request.ts';
import type { BuildChoice } from './choose-build.ts';
import type { Project } from './read-project.ts';
import type { Report } from './report.ts';

/** Null: the build carries none. The report says why if one was to be computed. */
export async function fingerprintFor(
  { source, files }: Project,
  { platform, profile: name }: BuildChoice,
  { fingerprint, untrusted }: Pick<RequestFlags, 'fingerprint' | 'untrusted'>,
  { report, signal }: { report: Report; signal: AbortSignal },
): Promise<string | null> {
  if (typeof fingerprint === 'string') return fingerprint;
  if (fingerprint === false || untrusted || name === null) return null;
  const easJson = await readEasJson(files, source.appRoot);
  const profile = easJson.ok ? resolveProfile(easJson.value, platform, name, { imageNames: null }) : easJson;
  if (!profile.ok || !isForDevelopment(profile.value)) return null;
  const { env = {} } = profile.value;
  const made = await fingerprintOf(join(source.root, source.appRoot), platform, { env, signal });
  if ('hash' in made) return made.hash;
  report.say(`Expo's build cache will not have this build: ${made.why}`);
  return null;
}
