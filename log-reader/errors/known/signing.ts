import type { KnownError } from './known-error.ts';

/** The command line of React Native leaves out the colon. */
const XCODE = '(?:(?:^|: )error: (?:exportArchive:? )?|^error )';

/** Certificates, provisioning profiles, and the keychain they live in. */
export const SIGNING: readonly KnownError[] = [
  {
    id: 'keychain_locked',
    pattern: /: errSecInternalComponent$|(?:^|: )User interaction is not allowed\.?$/,
    sentence:
      'The private key could not be used to sign: the keychain is locked, or asks for permission in a window that nobody sees.',
    advice:
      'Unlock the keychain in the build, lift its timeout with "security set-keychain-settings", and allow codesign with "security set-key-partition-list -S apple-tool:,apple:".',
  },
  {
    id: 'keychain_password',
    pattern: /^security: Sec\w+(?: \S+)?: The user name or passphrase you entered is not correct\./,
    sentence: 'The password of the keychain is wrong.',
    advice: 'Check the secret that holds the password, and that it belongs to the keychain that the build unlocks.',
  },
  {
    id: 'keychain_missing',
    pattern: /^security: Sec\w+(?: \S+)?: The specified keychain could not be found\./,
    sentence: 'The keychain that the build names does not exist in the VM.',
    advice: 'Create it in the build with "security create-keychain"; each build starts in a fresh VM.',
  },
  {
    id: 'match_passphrase',
    pattern:
      /^(?:\[!\] )?(?:Invalid password passed via 'MATCH_PASSWORD'|Couldn't decrypt the repo, please make sure you enter the right password)/,
    sentence: 'The passphrase of match is wrong: it does not open the repository of certificates.',
    advice: 'Check the secret that holds MATCH_PASSWORD.',
  },
  {
    id: 'certificate_password',
    pattern: /MAC verification failed(?: during PKCS12 import|$)/,
    sentence: 'The signing certificate (.p12) could not be opened: its password is wrong.',
    advice:
      'Check the password. A .p12 of OpenSSL 3 must be written with "-legacy" for macOS; builds of a profile convert it.',
  },
  {
    id: 'certificate_import',
    pattern: /Distribution certificate with fingerprint (\w+) hasn't been imported successfully/,
    sentence: 'The distribution certificate was imported but macOS does not consider it valid.',
    advice:
      'Check that the certificate has not expired and that Apple\'s WWDR certificates are in the image. On macOS 26 and 27 build a profile, or use "keychain create".',
  },
  {
    id: 'certificate_untrusted',
    pattern: /^[Ww]arning: unable to build chain to self-signed root for signer/,
    near: [{ where: 'below', within: 12, pattern: /errSecInternalComponent|Command CodeSign failed/, required: true }],
    sentence: "The signing certificate does not lead to one of Apple's roots.",
    advice:
      "Install Apple's current WWDR intermediate certificate in the base image, and leave its trust at the system default.",
  },
  {
    id: 'certificate_expired',
    pattern: /\bCSSMERR_TP_CERT_EXPIRED\b/,
    sentence: 'The signing certificate has expired.',
    advice: 'Make a new certificate and a profile that contains it.',
  },
  {
    id: 'certificate_limit',
    pattern: /Could not create another (\w+) certificate, reached the maximum number of available/,
    sentence: 'The Apple team has as many $1 certificates as Apple allows.',
    advice: 'Revoke one that is not used, or give the build an existing one.',
  },
  {
    id: 'profile_expired',
    pattern: new RegExp(`${XCODE}Provisioning profile "([^"]+)" (?:expired on ([^.]+)\\.|has expired)`),
    sentence: 'The provisioning profile "$1" has expired.',
    advice: 'Renew it in the Apple developer account, or with "eas credentials", and build again.',
  },
  {
    id: 'profile_without_certificate',
    pattern: new RegExp(`${XCODE}Provisioning profile "([^"]+)" doesn't include signing certificate "([^"]+)"`),
    sentence: 'The provisioning profile "$1" was made for another certificate than "$2".',
    advice: 'Make a new profile with this certificate, or sign with the certificate of the profile.',
  },
  {
    id: 'profile_without_capability',
    pattern: new RegExp(
      // Expo's formatter words it differently.
      `${XCODE}Provisioning [Pp]rofile "([^"]+)" (?:doesn't|does not) (?:support the (.+?) capability|include the (\\S+) entitlement)|${XCODE}Entitlements file defines the value "([^"]+)" which is not registered for profile "?([^"]+?)"?\\.?$`,
    ),
    sentence: 'The provisioning profile "$1$5" lacks a capability that the app asks for: $2$3$4.',
    advice: 'Switch the capability on for the app id, then make the profile anew.',
  },
  {
    id: 'profile_not_found',
    pattern: new RegExp(`${XCODE}No profiles for '([^']+)' were found`),
    sentence: 'There is no provisioning profile for $1 in the VM.',
    advice:
      'Install the profile in the build, or let "eas credentials" or "fastlane match" do it; check the bundle identifier.',
  },
  {
    id: 'profile_not_set',
    pattern: new RegExp(`${XCODE}"([^"]+)" requires a provisioning profile`),
    sentence: 'The target "$1" is signed by hand but names no provisioning profile.',
    advice: 'Name a profile for this target in the export options or the project; app extensions need one each.',
  },
  {
    id: 'team_missing',
    pattern: new RegExp(`${XCODE}Signing for "([^"]+)" requires a development team`),
    sentence: 'The target "$1" has no development team.',
    advice:
      'Set DEVELOPMENT_TEAM; for resource bundles of pods switch signing off in the Podfile (CODE_SIGNING_ALLOWED = NO).',
  },
  {
    id: 'certificate_not_found',
    pattern: new RegExp(`${XCODE}No signing certificate "([^"]+)" found|^[^"'\`]*: no identity found$`),
    sentence: 'The signing certificate, or its private key, is not in a keychain of the VM.',
    advice: 'Import the .p12 (certificate and key) into a keychain that is in the search list.',
  },
  {
    id: 'no_apple_account',
    pattern: new RegExp(`${XCODE}(?:No Accounts|No Account for Team "([^"]+)")`),
    sentence: 'Xcode is to sign automatically, but no Apple account is signed in in the VM.',
    advice: 'Sign by hand, or pass an App Store Connect API key with -allowProvisioningUpdates.',
  },
  {
    id: 'keychain_not_made',
    pattern: /^keychain: (?!warning: )(.{1,200})$/,
    near: [{ where: 'above', within: 4, pattern: /^(?!keychain: )(?<reason>(?:security|codesign|\S+): \S.{1,160})$/ }],
    atEnd: true,
    sentence: 'The command "keychain create" failed: $1[ ($<reason>)].',
    advice: 'Do what it says. docs/expo.md shows which files and passwords a build needs to sign.',
  },
];
