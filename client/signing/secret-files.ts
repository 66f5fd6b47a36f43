/**
 * Finds the files that sign each target of an iOS app among the secret files of a build, without
 * credentials.json. It goes by the bundle id in each profile, and by the certificates in it. Pure.
 */
import { printable } from '../printable.ts';
import { type Found, found, problem } from '../project/found.ts';
import { certificateOpener } from './certificate.ts';
import {
  type IosCredentials,
  iosCredentials,
  type SigningTarget,
  TARGETS_MAX,
  type TargetFiles,
} from './credentials.ts';
import { fits, type ProvisioningProfile, readProfile } from './provisioning-profile.ts';

interface ProfileFile {
  path: string;
  content: Buffer;
  profile: ProvisioningProfile;
}

/** Null if the secret files have neither a certificate nor a profile. */
export function credentialsInSecretFiles(
  secretFiles: ReadonlyMap<string, Buffer>,
  password: string | undefined,
  targets: readonly SigningTarget[],
): Found<IosCredentials | null> {
  const withEnd = (end: string) => [...secretFiles].filter(([path]) => path.toLowerCase().endsWith(end)).sort();
  const certificates = withEnd('.p12').map(([path, content]) => ({
    path,
    content,
    password: password ?? '',
    passwordFix:
      password === undefined
        ? 'give it as the secret variable `P12_PASSWORD`'
        : 'correct the secret variable `P12_PASSWORD`, which is for all .p12 files',
  }));
  const profileFiles = withEnd('.mobileprovision');
  if (certificates.length === 0 && profileFiles.length === 0) return found(null);
  if (certificates.length === 0)
    return problem(
      `The secret files have the profile \`${printable(profileFiles[0]![0])}\`, but no certificate: submit the .p12 that it contains, too.`,
    );
  if (profileFiles.length === 0)
    return problem(
      `The secret files have the certificate \`${printable(certificates[0]!.path)}\`, but no provisioning profile: submit a .mobileprovision for each target, too.`,
    );
  if (certificates.length > TARGETS_MAX || profileFiles.length > TARGETS_MAX)
    return problem(
      `The secret files have more than ${TARGETS_MAX} certificates or profiles: submit only those of this app.`,
    );

  const profiles: ProfileFile[] = [];
  for (const [path, content] of profileFiles) {
    const read = readProfile(path, content);
    if (!read.ok) return read;
    profiles.push({ path, content, profile: read.value });
  }
  const open = certificateOpener();
  const certificateOf = ({ profile }: ProfileFile) =>
    certificates.find((file) => {
      const opened = open(file, profile.certificates);
      return opened.ok && profile.certificates.has(opened.value.sha1);
    });
  const entries: TargetFiles[] = [];
  for (const target of targets) {
    const fitting = profilesFor(target, profiles);
    if (!fitting.ok) return fitting;
    const withCertificate = fitting.value.find((file) => certificateOf(file) !== undefined);
    const profile = withCertificate ?? fitting.value[0]!;
    // If no certificate belongs to the profile, the check of the credentials reports that.
    entries.push({ target: target.target, profile, certificate: certificateOf(profile) ?? certificates[0]! });
  }
  return iosCredentials(entries, open);
}

/**
 * The best profile first: one for exactly this app before one with `*`, and among equals the one that expires
 * last.
 */
function profilesFor({ target, bundleId }: SigningTarget, profiles: readonly ProfileFile[]): Found<ProfileFile[]> {
  if (bundleId === null) {
    if (profiles.length === 1) return found([...profiles]);
    return problem(
      `Which of the ${profiles.length} profiles among the secret files is for the target \`${printable(target)}\` cannot be told, because its bundle id does not stand plainly in the source: name the files in credentials.json.`,
    );
  }
  const rank = ({ profile }: ProfileFile) => profile.bundleId.length * 2 + (profile.bundleId.endsWith('*') ? 0 : 1);
  const fitting = profiles
    .filter(({ profile }) => fits(profile, bundleId))
    .sort((a, b) => rank(b) - rank(a) || b.profile.expires.getTime() - a.profile.expires.getTime());
  if (fitting.length > 0) return found(fitting);
  const there = profiles.map(({ path, profile }) => `\`${printable(path)}\` is for \`${printable(profile.bundleId)}\``);
  return problem(
    `No profile among the secret files is for the target \`${printable(target)}\` with the bundle id \`${printable(bundleId)}\` (${there.join(', ')}): submit one that is.`,
  );
}
