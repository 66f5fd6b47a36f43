import { fromRules } from './recogniser.ts';

/** The lines that fastlane's builder gym prints itself. The recognisers of other tools read the rest. */
export const fastlane = fromRules('fastlane', 'R$CGS', [
  [/^Resolving Swift Package Manager dependencies/, { phase: 'xcode', label: 'Resolving Swift packages' }],
  [
    /^\$ (?:set -o pipefail && )?(?:\S+\/)?xcodebuild .*-exportArchive/,
    {
      phase: 'xcode',
      share: 0.96,
      label: 'Exporting the app',
    },
  ],
  [
    /^\$ (?:set -o pipefail && )?(?:\S+\/)?xcodebuild -resolvePackageDependencies/,
    {
      phase: 'xcode',
      label: 'Resolving Swift packages',
    },
  ],
  [/^\$ (?:set -o pipefail && )?(?:\S+\/)?xcodebuild /, { phase: 'xcode', label: 'Preparing the native build' }],
  [
    /^(?:Creating Gymfile|Gymfile created|Successfully loaded '.*Gymfile)/,
    { phase: 'xcode', label: 'Preparing the native build' },
  ],
  [/^Successfully exported and compressed dSYM file/, { phase: 'xcode', share: 0.98, label: 'Exporting the app' }],
  [
    /^Successfully exported and signed the (?:ipa|pkg) file/,
    { phase: 'xcode', ended: true, label: 'Exporting the app' },
  ],
]);
