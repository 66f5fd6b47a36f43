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
    id: 'pods_download',
    pattern: /^\[!\] CDN: trunk (?:URL couldn't be downloaded: (\S+)|Repo update failed)/,
    sentence: 'CocoaPods could not download from its CDN.',
    advice: 'Build again; if it stays, check that the VM reaches cdn.cocoapods.org.',
  },
  {
    id: 'pods_install_error',
    pattern: /^\[!\] Error installing (\S+)/,
    sentence: 'The source of the pod $1 could not be fetched.',
    advice: 'Build again; if it stays, check the lines after it and that the VM reaches the server of the pod.',
  },
  {
    id: 'pods_version',
    pattern: /^\[!\] `([^`]+)` requires CocoaPods version `([^`]+)`/,
    sentence: 'The pod $1 needs CocoaPods $2, and the VM has another version.',
    advice: 'Update CocoaPods in the base image (provision.sh pins its version).',
  },
  {
    id: 'pods_encoding',
    pattern: /Encoding::CompatibilityError|CocoaPods requires your terminal to be using UTF-8 encoding/,
    sentence: 'CocoaPods needs a UTF-8 locale, and the build has none.',
    advice: 'Set LANG=en_US.UTF-8 in the environment of the build.',
  },
  {
    id: 'pods_static_swift',
    pattern: /^\[!\] The following Swift pods cannot yet be integrated as static libraries/,
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
    id: 'podfile_invalid',
    pattern: /^\[!\] Invalid `Podfile` file: (.{1,160})/,
    sentence: 'The Podfile could not be read: $1',
    advice: 'Correct the Podfile; "cannot load such file" most often means that node_modules is not installed.',
  },
  {
    id: 'pods_out_of_sync',
    pattern: /(?:^|: )error: The sandbox is not in sync with the Podfile\.lock/,
    sentence: 'The installed pods differ from Podfile.lock.',
    advice: 'Run "pod install" in the build before Xcode, and do not archive the Pods folder with the source.',
  },
  {
    id: 'ruby_architecture',
    pattern: /incompatible architecture \(have '?(\w+)'?, need '?(\w+)'?.*\.bundle|\.bundle.*incompatible architecture/,
    sentence: 'A Ruby extension in the VM was built for another processor.',
    advice: 'Reinstall CocoaPods in the base image without Rosetta.',
  },
];
