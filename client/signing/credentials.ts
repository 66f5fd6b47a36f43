/** Opens the files that sign each target, and turns them into the form that Expo's engine needs. */
import { type Found, found, problem } from '../project/found.ts';
import { type Certificate, type CertificateFile, certificateOpener } from './certificate.ts';
import { type ProvisioningProfile, readProfile } from './provisioning-profile.ts';

/** More targets than any app has. */
export const TARGETS_MAX = 30;

/** A target that needs a signature. The bundle id is null if only the VM can find it. */
export interface SigningTarget {
  target: string;
  bundleId: string | null;
}

/** `secrets.buildCredentials` of the engine's job for iOS. */
type IosBuildCredentials = Record<
  string,
  { provisioningProfileBase64: string; distributionCertificate: { dataBase64: string; password: string } }
>;

/** `secrets.buildCredentials` of the engine's job for Android. */
interface AndroidBuildCredentials {
  keystore: { dataBase64: string; keystorePassword: string; keyAlias: string; keyPassword?: string };
}

export interface SignedTarget {
  target: string;
  certificatePath: string;
  certificate: Certificate;
  profilePath: string;
  profile: ProvisioningProfile;
}

export interface IosCredentials {
  platform: 'ios';
  buildCredentials: IosBuildCredentials;
  targets: SignedTarget[];
  /** Passwords, which no log may show. */
  secrets: string[];
}

export interface AndroidCredentials {
  platform: 'android';
  buildCredentials: AndroidBuildCredentials;
  keystorePath: string;
  secrets: string[];
}

export type Credentials = IosCredentials | AndroidCredentials;

export interface TargetFiles {
  target: string;
  certificate: CertificateFile;
  profile: { path: string; content: Buffer };
}

export function iosCredentials(all: readonly TargetFiles[], open = certificateOpener()): Found<IosCredentials> {
  const targets: SignedTarget[] = [];
  const built: [string, IosBuildCredentials[string]][] = [];
  const notes = new Set<string>();
  if (all.length > TARGETS_MAX)
    return problem(
      `The build is to sign ${all.length} targets, but at most ${TARGETS_MAX} are possible: remove those that the app does not have.`,
    );
  for (const { target, certificate: file, profile: profileFile } of all) {
    const profile = readProfile(profileFile.path, profileFile.content);
    if (!profile.ok) return profile;
    const certificate = open(file, profile.value.certificates);
    if (!certificate.ok) return certificate;
    for (const note of certificate.notes) notes.add(note);
    const { p12, password } = certificate.value;
    built.push([
      target,
      {
        provisioningProfileBase64: profileFile.content.toString('base64'),
        distributionCertificate: { dataBase64: p12.toString('base64'), password },
      },
    ]);
    targets.push({
      target,
      certificatePath: file.path,
      certificate: certificate.value,
      profilePath: profileFile.path,
      profile: profile.value,
    });
  }
  const passwords = [
    ...all.map(({ certificate }) => certificate.password),
    ...targets.map((t) => t.certificate.password),
  ];
  const secrets = [...new Set(passwords)].filter((password) => password !== '');
  return found({ platform: 'ios', buildCredentials: Object.fromEntries(built), targets, secrets }, [...notes]);
}
