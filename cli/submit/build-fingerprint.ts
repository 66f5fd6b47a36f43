/**
 * Decides which fingerprint a build carries. Expo's build cache finds the build by it.
 *
 * Invariant: code of the project runs only for a person at a terminal, or with `--fingerprint auto`. And it
 * runs only for a build that the controller would offer: the source is trusted, and the key is trusted and
 * may write caches. This code can read every file of the account, also the key.
 */
import { join } from 'node:path';
import { resolveProfile } from '../../client/project/build-profile.ts';
import { readEasJson } from '../../client/project/eas-json.ts';
import { ProjectClient } from '../../client/project-client.ts';
import type { Connection } from '../../client/request.ts';
import { fingerprintOf, isForDevelopment } from '../build-cache/fingerprint.ts';
import { hasPerson } from '../follow/views/who-looks.ts';
import type { RequestFlags } from './build-request.ts';
import type { BuildChoice } from './choose-build.ts';
import type { Project } from './read-project.ts';
import type { Report } from './report.ts';

interface Means {
  connection: Connection;
  report: Report;
  signal: AbortSignal;
}

/** Null: the build carries none. The report says why if one was asked for, or if it cannot be computed. */
export async function fingerprintFor(
  project: Project,
  choice: BuildChoice,
  flags: Pick<RequestFlags, 'fingerprint' | 'untrusted'>,
  means: Means,
): Promise<string | null> {
  const { fingerprint } = flags;
  const isAsked = fingerprint === 'auto';
  if (typeof fingerprint === 'string' && !isAsked) return fingerprint;
  if (fingerprint === false || !(isAsked || hasPerson())) return null;
  const sayWhy = (why: string) => means.report.say(`Expo's build cache will not have this build: ${why}`);
  const use = await useOfIt(project, choice, flags.untrusted === true, means);
  if ('why' in use) {
    if (isAsked) sayWhy(use.why);
    return null;
  }
  const { root, appRoot } = project.source;
  const options = { env: use.env, signal: means.signal };
  const made = await fingerprintOf(join(root, appRoot), choice.platform, options);
  if ('hash' in made) return made.hash;
  sayWhy(made.why);
  return null;
}

/**
 * The variables of the profile, if the cache would offer the build. Otherwise a sentence that says why not.
 */
async function useOfIt(
  { source, files }: Project,
  { platform, profile: name }: BuildChoice,
  isUntrusted: boolean,
  { connection, signal }: Means,
): Promise<{ env: Readonly<Record<string, string>> } | { why: string }> {
  if (isUntrusted) return { why: 'its source is not trusted.' };
  const easJson = await readEasJson(files, source.appRoot);
  const profile =
    easJson.ok && name !== null ? resolveProfile(easJson.value, platform, name, { imageNames: null }) : null;
  if (!profile?.ok || !isForDevelopment(profile.value)) return { why: 'it is not of a profile for development.' };
  try {
    const { rights } = await new ProjectClient(connection).me(signal);
    return rights?.trusted && rights.may.includes('caches.write')
      ? { env: profile.value.env ?? {} }
      : { why: 'your key is not trusted, or does not have the right caches.write.' };
  } catch (error) {
    signal.throwIfAborted();
    return { why: (error as Error).message };
  }
}
