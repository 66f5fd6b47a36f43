import type { KnownError } from './known-error.ts';

/** The sentences of Tartbeat's own scripts in the VM (vm-image/guest/), in the order of a build. */
export const TARTBEAT: readonly KnownError[] = [
  {
    id: 'private_key_unreadable',
    pattern: /^\[tartbeat\] Private access: the secret GIT_SSH_KEY is not a private SSH key/,
    sentence: 'The secret GIT_SSH_KEY is not a private SSH key, or it has a passphrase.',
    advice: 'Make a key without: `ssh-keygen -t ed25519 -N "" -f key`, and store the contents of the file `key`.',
  },
  {
    id: 'tool_version_not_installed',
    pattern: /^\[tartbeat\] (\S+) (\S+) could not be installed\. The lines above say why\./,
    near: [
      {
        where: 'above',
        within: 20,
        pattern:
          /^(?:npm (?:error|ERR!) (?!code |A complete log|errno |syscall )(?:notarget |404 +)?|mise ERROR |ERROR: +|curl: )(?<reason>\S.{1,200})$/,
        takes: 'furthest',
        until: /^\[tartbeat\] Installing /,
      },
    ],
    sentence: '$1 $2 could not be installed[: $<reason>].',
    advice: 'Check that the version exists, and that the VM reaches the address in the log. An image can have it too.',
  },
  {
    id: 'tool_version_wrong',
    pattern: /^\[tartbeat\] (\S+) (\S+) was installed, but `[^`]+` says (.{1,80}?)\.$/,
    sentence: '$1 $2 was installed, but the program says that it is $3.',
    advice:
      'Another program of this name comes first on the PATH, or the version is not complete. Name it with all its parts.',
  },
  {
    id: 'package_manager_checksum',
    pattern: /^\[tartbeat\] (\S+) (\S+) is not the one that `packageManager` in package\.json names\./,
    sentence: 'The downloaded $1 $2 has another checksum than "packageManager" in package.json names.',
    advice: 'Set "packageManager" anew with "corepack use", or remove the part behind the "+".',
  },
  {
    id: 'tool_cannot_be_installed',
    pattern: /^\[tartbeat\] Tartbeat cannot install (\S+)\.$/,
    sentence: 'Tartbeat cannot install $1 in a build.',
    advice: 'Install it in the base image, and remove its version from eas.json.',
  },
  {
    id: 'engine_tool_missing',
    pattern: /^\[tartbeat\] A tool is missing: (.{1,120}?)\.?(?: Make the image again.*)?$/,
    sentence: 'A tool that the build needs is missing in the VM: $1.',
    advice: 'Make the image again with "expo-worker base-image --force", and then its snapshot.',
  },
  {
    id: 'engine_job_refused',
    pattern: /^\[tartbeat\] The engine refused the job: (.{1,300})$/,
    sentence: "Expo's build engine refused the job that Tartbeat made of the profile: $1.",
    advice: 'Correct the field of eas.json that it names. If there is none, this is an error of Tartbeat.',
  },
  {
    id: 'engine_folder_in_use',
    pattern:
      /^\[tartbeat\] The engine's working folder (\S+) (?:has files|is a mount point|is a link)|^(?:Error: )?Workingdir is not empty\.$/,
    sentence: "The working folder of Expo's build engine cannot be used[: $1].",
    advice: 'Build in a new VM. If it stays, remove the folder from the base image.',
  },
  {
    id: 'source_not_packed',
    pattern: /^\[tartbeat\] The source could not be packed for the engine\./,
    sentence: "The source could not be packed for Expo's build engine.",
    advice: 'Most often the disk of the VM is full: give the base image a larger one.',
  },
  {
    id: 'expo_environment_missing',
    pattern: /^\[tartbeat\] Expo did not send the variables of the environment/,
    near: [{ where: 'above', within: 20, pattern: /^Failed to pull env variables for environment (?<name>\S+)/ }],
    sentence: 'Expo did not send the variables of the environment[ "$<name>"], and the app would lack them.',
    advice: 'Build again. If it stays, check that EXPO_TOKEN may read them, or put them into the request instead.',
  },
  {
    id: 'expo_not_installed',
    pattern: /^\[tartbeat\] The package `expo` is not installed in (.{1,100}?), so/,
    sentence: 'The app config in $1 cannot be read, because the package "expo" is not installed.',
    advice: 'Add "expo" to the dependencies of its package.json.',
  },
  {
    id: 'app_id_missing',
    pattern: /^\[tartbeat\] The app config in (.{1,100}?) has no (ios\.bundleIdentifier|android\.package)\./,
    sentence: 'The app config in $1 has no $2.',
    advice: 'Add it, because each app has its own build numbers.',
  },
  {
    id: 'app_name_unreadable',
    pattern: /^\[tartbeat\] The name of the app could not be read from the app config in (.{1,100}?), so/,
    sentence: 'The name of the app could not be read from the app config in $1, and its certificate goes by that name.',
    advice: 'Run "npx expo config" there to see why. Variables that it reads must be set in the build too.',
  },
  {
    id: 'build_number_late',
    pattern: /^\[tartbeat\] No build number came within (\d+) minutes/,
    sentence: 'The build waited $1 minutes for its build number, and none came.',
    advice: 'The agent or the controller could not be reached in that time. Submit the build again.',
  },
];
