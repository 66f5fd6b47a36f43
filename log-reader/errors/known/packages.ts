import type { KnownError } from './known-error.ts';

const NPM = '^npm (?:error|ERR!) ';

/** npm, yarn, pnpm, bun. */
export const PACKAGES: readonly KnownError[] = [
  {
    id: 'lockfile_out_of_date',
    pattern: new RegExp(
      `${NPM}.*\\bnpm ci.* can only install packages when your package\\.json and|^error Your lockfile needs to be updated, but yarn was run with|YN0028: .*The lockfile would have been modified by this install|^\\s*ERR_PNPM_OUTDATED_LOCKFILE|^error: lockfile had changes, but lockfile is frozen`,
    ),
    sentence: 'The lock file does not match package.json.',
    advice: 'Install on your machine with the same package manager and version, and commit the lock file.',
  },
  {
    id: 'lockfile_missing',
    pattern: new RegExp(
      `${NPM}.*\\bnpm ci.* can only install with an existing package-lock\\.json|^\\s*ERR_PNPM_NO_LOCKFILE`,
    ),
    sentence: 'There is no lock file in the source.',
    advice: 'Commit the lock file, and check that the archive of the source does not leave it out.',
  },
  {
    id: 'peer_dependencies',
    pattern: new RegExp(`${NPM}code ERESOLVE`),
    sentence: 'Packages of the project ask for versions of each other that cannot be met.',
    advice: 'Run "npx expo install --check" and fix the versions, or set legacy-peer-deps=true in .npmrc.',
  },
  {
    id: 'package_integrity',
    pattern: new RegExp(`${NPM}code EINTEGRITY|Integrity check failed for "([^"]+)"|^\\s*ERR_PNPM_TARBALL_INTEGRITY`),
    sentence: 'A downloaded package differs from what the lock file says.',
    advice: 'Build again; if it stays, remove the package from the lock file and install anew.',
  },
  {
    id: 'registry_login',
    fetches: true,
    pattern: new RegExp(`${NPM}code E40[13]\\b|^\\s*ERR_PNPM_FETCH_40[13]|^error .*Request failed "40[13] `),
    sentence: 'The package registry refused the build: it has no key for a private package, or the wrong one.',
    advice: 'Pass the key of the registry as a secret file (.npmrc) or in the environment of the build.',
  },
  {
    id: 'yarn_started_twice',
    pattern: /^error \S+: Extracting tar content of undefined failed, the file appears to be corrupt/,
    sentence: 'Two installs of yarn ran at the same time and have damaged packages of each other.',
    advice:
      'The "prepare" script of a dependency from git starts an install of its own. Use a published version of it.',
  },
  {
    id: 'registry_broken',
    pattern: new RegExp(
      `${NPM}code E5\\d\\d|^\\s*ERR_PNPM_FETCH_5\\d\\d|^error An unexpected error occurred: "(?:\\S+): Request failed \\\\?"5\\d\\d`,
    ),
    sentence: 'The package registry has answered with an error of its own.',
    advice: 'Build again; if it stays, see whether the registry works.',
  },
  {
    id: 'package_not_found',
    fetches: true,
    pattern: new RegExp(
      `${NPM}404 +'?([^ ']+)'? is not in this registry|${NPM}notarget No matching version found for (\\S+?)\\.?$|^\\s*ERR_PNPM_(?:FETCH_404|NO_MATCHING_VERSION)|^error Couldn't find (?:any versions for|package) "?([^" ]+)`,
    ),
    sentence: 'The package $1$2$3 does not exist in the registry in the version asked for.',
    advice: 'Check name and version in package.json, and the registry in .npmrc if the package is private.',
  },
  {
    id: 'node_version',
    pattern: new RegExp(
      `${NPM}code EBADENGINE|^error \\S+: The engine "node" is incompatible with this module|^\\s*ERR_PNPM_UNSUPPORTED_ENGINE`,
    ),
    sentence: 'A package does not support the Node.js version of the VM.',
    advice: 'Install the version that the project needs, in the base image or in the build.',
  },
  {
    id: 'patch_failed',
    pattern: /^\*\*ERROR\*\* Failed to apply patch for package (\S+)/,
    sentence: 'The patch for the package $1 does not fit the installed version.',
    advice: 'Make the patch anew with patch-package after updating the package.',
  },
  {
    id: 'package_script_failed',
    pattern:
      /^npm (?:error|ERR!) Missing script: "?([^"]+)"?$|^error Command "([^"]+)" not found\.$|ERR_PNPM_NO_SCRIPT +Missing script: (\S+)/,
    sentence: 'The script "$1$2$3" is not in package.json.',
    advice: "Correct the build's command or add the script.",
  },
];
