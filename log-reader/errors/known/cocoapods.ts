import type { KnownError } from './known-error.ts';

export const COCOAPODS: readonly KnownError[] = [
  {
    id: 'pods_deployment_target',
    pattern:
      /^Specs satisfying the `([^ `]+).*` dependency were found, but they required a higher minimum deployment target/,
    sentence: 'The pod $1 needs a newer iOS than the project supports.',
    advice: 'Raise the deployment target in the Podfile (in Expo: ios.deploymentTarget of expo-build-properties).',
  },
  {
    id: 'pods_spec_missing',
    pattern: /^None of your spec sources contain a spec satisfying (?:the|all) dependenc(?:y|ies): `([^`]+)`/,
    sentence: 'No known version of a pod fits what the project asks for: $1.',
    advice: 'Run "pod install --repo-update"; if it stays, see which pod or Podfile.lock pins the version.',
  },
  {
    id: 'pods_incompatible',
    pattern: /^\[!\] CocoaPods could not find compatible versions for pod "([^"]+)"/,
    sentence: 'The versions that Podfile and Podfile.lock ask for of the pod $1 contradict each other.',
    advice: 'Run "pod update $1" or remove Podfile.lock, and commit the result.',
  },
  {
    id: 'pods_unknown',
    pattern: /^\[!\] Unable to find a specification for `([^`]+)`/,
    sentence: 'The pod $1 is not known to the spec repositories of this project.',
    advice: 'Check its name and source in the Podfile, and run "pod install --repo-update".',
  },
  {
    id: 'pods_path_missing',
    pattern: /^\[!\] No podspec (?:found for `([^`]+)` in|exists at path) `([^`]+)`/,
    sentence: 'There is no podspec[ of the pod $1] where the Podfile looks for it: $2.',
    advice: 'Install the packages before "pod install"; if they are, the package has moved or lost its podspec.',
  },
  {
    id: 'pods_download',
    pattern: /^\[!\] CDN: trunk (?:URL couldn't be downloaded: (\S+)(?!.* Response: 429\b)|Repo update failed)/,
    sentence: 'CocoaPods could not download from its CDN.',
    advice: 'Build again; if it stays, check that the VM reaches cdn.cocoapods.org.',
  },
  {
    id: 'pods_checksum',
    pattern: /^Verification checksum was incorrect, expected (\S+), got (\S+)/,
    near: [{ where: 'above', within: 6, pattern: /^\[!\] Error installing (?<pod>\S+)/ }],
    sentence: 'The file that was downloaded for the pod[ $<pod>] is not the expected one: its checksum is wrong.',
    advice:
      'Building again does not help: the file was changed at its source, or the podspec is wrong. Update the package that brings the pod.',
  },
  {
    id: 'pods_version',
    pattern: /^\[!\] `([^`]+)` requires CocoaPods version `([^`]+)`/,
    sentence: 'The pod $1 needs CocoaPods $2, and the VM has another version.',
    advice:
      'Name such a version as "cocoapods" in the profile of eas.json. Or set COCOAPODS_VERSION in vm-image/provision/versions.sh, and make the base image anew.',
  },
  {
    id: 'pods_encoding',
    pattern: /Encoding::CompatibilityError/,
    sentence: 'CocoaPods needs a UTF-8 locale, and the build has none.',
    advice: 'Set LANG=en_US.UTF-8 in the environment of the build.',
  },
  {
    id: 'pods_static_swift',
    pattern:
      /^(?:\[!\] The following Swift pods cannot yet be integrated as static libraries|The Swift pod `[^`]+` depends upon .* which does not define modules)/,
    sentence: 'A Swift pod depends on pods that define no module.',
    advice: 'Add "use_modular_headers!" to the Podfile, or ":modular_headers => true" to the pods it names.',
  },
  {
    id: 'podfile_missing',
    pattern: /^\[!\] No `Podfile' found in the project directory/,
    sentence: 'There is no Podfile where "pod install" was run.',
    advice: 'Run it in the ios folder; in Expo projects run "npx expo prebuild" first.',
  },
  {
    id: 'podfile_node_env',
    pattern: /^\[!\] Invalid `Podfile` file: .*unexpected token at 'info Run CLI with --verbose flag/,
    sentence: 'The Podfile runs a program of React Native that is not installed.',
    advice: 'NODE_ENV=production leaves devDependencies out: remove it from the environment of the build.',
  },
  {
    id: 'codegen_failed',
    pattern: /^\[!\] Invalid `Podfile` file: \[!\] .*\/generate-codegen-artifacts\.js/,
    near: [{ where: 'above', within: 60, pattern: /^(?<reason>(?:\w*Error|error): .{1,200})/ }],
    sentence: "React Native's codegen failed while pods were installed[: $<reason>].",
    advice: 'Correct the spec that it names; if it is in a package, the version may not fit this React Native.',
  },
  {
    id: 'podfile_command_failed',
    pattern: /^\[!\] Invalid `Podfile` file: \[!\] (.{1,160})/,
    near: [{ where: 'above', within: 60, pattern: /^(?<reason>(?:\w*Error|error|fatal): .{1,200})/ }],
    sentence: 'A command that the Podfile runs failed[: $<reason>].',
    advice: 'See what it printed above; the command is $1.',
  },
  {
    id: 'podfile_invalid',
    pattern: /^\[!\] Invalid `Podfile` file: (.{1,160})/,
    sentence: 'The Podfile could not be read: $1',
    advice: 'Correct the Podfile; "cannot load such file" most often means that node_modules is not installed.',
  },
  {
    id: 'pods_not_installed',
    pattern:
      /(?:^|: )error: (?:Unable to open base configuration reference file '[^']*\/Pods\/|could not find included file '[^']*Pods-|Codegen did not run properly in your project|Build input files? cannot be found: '[^']*\/(?:Pods|build\/generated)\/)/,
    sentence: 'Pods are not installed in the ios folder of the source.',
    advice: 'Run "pod install" in the build before Xcode (in Expo projects "npx expo prebuild" first).',
  },
  {
    id: 'pods_out_of_sync',
    pattern: /(?:^|: )error: The sandbox is not in sync with the Podfile\.lock/,
    sentence: 'The installed pods differ from Podfile.lock.',
    advice: 'Run "pod install" in the build before Xcode, and do not archive the Pods folder with the source.',
  },
];
