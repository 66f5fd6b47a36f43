import { fromRules } from './recogniser.ts';

/** What Tartbeat's scripts in the VM print before Expo's engine starts: tools, dependencies, the build number. */
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
