/**
 * Checks that certificates, profiles and keystore can sign this app. It runs before the build, because Xcode
 * or Gradle would fail minutes later, with a message that is harder to understand. Pure.
 */
import { printable } from '../printable.ts';
import { type Found, found, problem } from '../project/found.ts';
import type { AndroidCredentials, Credentials, IosCredentials, SignedTarget, SigningTarget } from './credentials.ts';
import { faultOf, type KeystoreFault } from './java-keystore.ts';
import { fits, type ProfileKind } from './provisioning-profile.ts';

export interface SigningCheck {
  /** The known targets that need a signature. The first is the app itself. */
  targets: readonly SigningTarget[];
  now: Date;
  /** From the build's profile in eas.json, or `store` if it has none. */
  distribution?: 'store' | 'internal' | undefined;
  enterpriseProvisioning?: 'adhoc' | 'universal' | undefined;
}

export function checkSigning(credentials: Credentials, check: SigningCheck): Found<null> {
  const sentence = credentials.platform === 'ios' ? iosProblem(credentials, check) : androidProblem(credentials);
  return sentence === null ? found(null) : problem(sentence);
}

/** The problem of a build that must be signed, but has no signing files. */
export function noCredentials(platform: 'ios' | 'android', appRoot: string): string {
  const place = appRoot === '.' ? 'the source' : `\`${printable(appRoot)}\``;
  return platform === 'ios'
    ? `The build must be signed, but ${place} has no credentials.json, and the secret files have no certificate (.p12) and profile (.mobileprovision): submit one or the other.`
    : `The profile has \`credentialsSource: local\`, but ${place} has no credentials.json that names the keystore: submit it as a secret file, with the keystore.`;
}

function iosProblem({ targets: signed }: IosCredentials, check: SigningCheck): string | null {
  for (const { target, bundleId } of check.targets)
    if (!signed.some((one) => one.target === target))
      return `The target ${titled(target, bundleId)} has no certificate and profile: add \`${printable(target)}\` to \`ios\` in credentials.json.`;
  for (const one of signed) {
    const bundleId = check.targets.find(({ target }) => target === one.target)?.bundleId ?? null;
    for (const look of LOOKS) {
      const sentence = look(one, { ...check, bundleId });
      if (sentence !== null) return sentence;
    }
  }
  return differenceOf(signed);
}

const titled = (target: string, bundleId: string | null): string =>
  `\`${printable(target)}\`${bundleId === null ? '' : ` (${printable(bundleId)})`}`;

const day = (date: Date): string => date.toISOString().slice(0, 10);
const code = (path: string): string => `\`${printable(path)}\``;

type Look = (signed: SignedTarget, check: SigningCheck & { bundleId: string | null }) => string | null;

/** In this order, because the first problem often causes the later ones. */
const LOOKS: readonly Look[] = [
  ({ certificate, certificatePath }) =>
    certificate.hasPrivateKey
      ? null
      : `${code(certificatePath)} has no private key of its certificate, so nothing can be signed with it: in Keychain Access of the Mac that asked for the certificate, select certificate and key, and export both as .p12.`,
  ({ certificate, certificatePath }, { now }) =>
    certificate.expires > now
      ? null
      : `The certificate in ${code(certificatePath)} (${certificate.name}) expired on ${day(certificate.expires)}: make a new one at developer.apple.com, and a new profile with it.`,
  ({ profile, profilePath }, { now }) =>
    profile.expires > now
      ? null
      : `The profile ${code(profilePath)} (${profile.name}) expired on ${day(profile.expires)}: renew it at developer.apple.com and submit the new one.`,
  // If the profile contains the certificate, the team in the certificate's name does not matter.
  ({ certificate, certificatePath, profile, profilePath }) =>
    certificate.team === null || certificate.team === profile.team || profile.certificates.has(certificate.sha1)
      ? null
      : `The certificate in ${code(certificatePath)} (${certificate.name}) is of the team ${printable(certificate.team)}, but the profile ${code(profilePath)} of the team ${printable(profile.team)}: submit both of one team.`,
  ({ certificate, certificatePath, profile, profilePath }) =>
    profile.certificates.has(certificate.sha1)
      ? null
      : `The profile ${code(profilePath)} (${profile.name}) does not contain the certificate in ${code(certificatePath)} (${certificate.name}, SHA-1 ${certificate.sha1}): add it to the profile at developer.apple.com and submit the new profile.`,
  ({ target, profile, profilePath }, { bundleId }) =>
    bundleId === null || fits(profile, bundleId)
      ? null
      : `The profile ${code(profilePath)} (${profile.name}) is for \`${printable(profile.bundleId)}\`, but the target ${code(target)} has the bundle id \`${printable(bundleId)}\`: submit a profile for this bundle id.`,
  ({ profile, profilePath }, check) => {
    const wanted = kindsFor(check);
    return wanted.kinds.includes(profile.kind)
      ? null
      : `The profile ${code(profilePath)} (${profile.name}) is of the kind ${profile.kind}, but ${wanted.because} in eas.json wants ${wanted.kinds.join(' or ')}: submit a profile of that kind, or change eas.json.`;
  },
];

/** The rule of eas-cli. It also accepts a universal profile for an app for the store. */
function kindsFor({ distribution, enterpriseProvisioning }: SigningCheck): { kinds: ProfileKind[]; because: string } {
  if (distribution !== 'internal') return { kinds: ['app-store', 'enterprise'], because: '`distribution: store`' };
  if (enterpriseProvisioning === 'universal')
    return { kinds: ['enterprise'], because: '`enterpriseProvisioning: universal`' };
  if (enterpriseProvisioning === 'adhoc') return { kinds: ['ad-hoc'], because: '`enterpriseProvisioning: adhoc`' };
  return { kinds: ['ad-hoc', 'development', 'enterprise'], because: '`distribution: internal`' };
}

/**
 * Refuses profiles that differ, because Expo's engine exports all targets with the kind and the team of one
 * of them.
 */
function differenceOf(signed: readonly SignedTarget[]): string | null {
  const [first, ...others] = signed;
  for (const other of others) {
    const pair = `${code(first!.profilePath)} and ${code(other.profilePath)}`;
    if (other.profile.team !== first!.profile.team)
      return `The profiles ${pair} are of different teams (${printable(first!.profile.team)} and ${printable(other.profile.team)}): submit profiles of one team for all targets.`;
    if (other.profile.kind !== first!.profile.kind)
      return `The profiles ${pair} are of different kinds (${first!.profile.kind} and ${other.profile.kind}): submit profiles of one kind for all targets.`;
  }
  return null;
}

const KEYSTORE_FAULTS: Record<KeystoreFault, (path: string, alias: string) => string> = {
  no_keystore: (path) =>
    `${path} is not a keystore, or it is damaged: submit the .jks or .keystore file of the app unchanged.`,
  wrong_password: (path) =>
    `The keystore ${path} does not open with its password: correct \`android.keystore.keystorePassword\` in credentials.json.`,
  no_alias: (path, alias) =>
    `The keystore ${path} has no key with the alias \`${printable(alias)}\`: correct \`android.keystore.keyAlias\` in credentials.json (\`keytool -list -keystore FILE\` shows the aliases).`,
};

function androidProblem({ keystorePath, buildCredentials: { keystore } }: AndroidCredentials): string | null {
  const content = Buffer.from(keystore.dataBase64, 'base64');
  const fault = faultOf(content, keystore.keystorePassword, keystore.keyAlias);
  return fault === null ? null : KEYSTORE_FAULTS[fault](code(keystorePath), keystore.keyAlias);
}
