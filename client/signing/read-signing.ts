/** Finds and checks the files that sign a build of a profile, or reports the first problem. */
import { type Found, found, problem } from '../project/found.ts';
import type { ProjectFiles } from '../project/project-files.ts';
import { checkSigning, noCredentials } from './check-signing.ts';
import type { Credentials } from './credentials.ts';
import { readCredentials, type SigningInputs } from './credentials-json.ts';

/** The fields of a resolved profile of eas.json that are about signing. */
export interface SigningProfile {
  platform: 'ios' | 'android';
  simulator?: boolean | undefined;
  withoutCredentials?: boolean | undefined;
  credentialsSource?: 'local' | 'remote' | undefined;
  distribution?: 'store' | 'internal' | undefined;
  enterpriseProvisioning?: 'adhoc' | 'universal' | undefined;
}

interface SigningRequest extends SigningInputs {
  files: ProjectFiles;
  appRoot: string;
  profile: SigningProfile;
  now: Date;
}

/** Null if the build needs no signature, or if Gradle signs with the project's own settings. */
export async function readSigning(request: SigningRequest): Promise<Found<Credentials | null>> {
  const { files, appRoot, profile } = request;
  const { platform } = profile;
  if (profile.withoutCredentials || (platform === 'ios' && profile.simulator)) return found(null);
  const read = await readCredentials(files, appRoot, platform, request);
  if (!read.ok) return read;
  if (read.value === null) {
    if (platform === 'ios' || profile.credentialsSource === 'local') return problem(noCredentials(platform, appRoot));
    return found(null, [
      'The build has no keystore (credentials.json). Gradle signs as the project itself says, by default with a debug key that no store takes.',
    ]);
  }
  const checked = checkSigning(read.value, { ...request, ...profile });
  return checked.ok ? found(read.value, [...read.notes, ...checked.notes]) : checked;
}
