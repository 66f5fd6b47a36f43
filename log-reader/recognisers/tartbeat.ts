import { fromRules } from './recogniser.ts';

/** The lines of Tartbeat's scripts in the VM before Expo's engine starts. */
export const tartbeat = fromRules('tartbeat', '[', [
  [
    /^\[tartbeat\] Installing (\S+) (\S+); /,
    ([, name, version]) => ({ phase: 'command', label: `Installing ${name} ${version}` }),
  ],
  [/^\[tartbeat\] Dependencies are installed in /, { phase: 'install' }],
  [/^\[tartbeat\] The app config is read in /, { phase: 'command', label: 'Reading the app config' }],
  [/^\[tartbeat\] The build waits for its number/, { phase: 'command', label: 'Waiting for the build number' }],
  [/^\[tartbeat\] eas-cli makes the job /, { phase: 'command', label: 'Asking Expo for the profile' }],
]);
