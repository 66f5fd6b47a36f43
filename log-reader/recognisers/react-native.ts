import { fromRules } from './recogniser.ts';

/** The command line of React Native. It hides xcodebuild's output unless a formatter is installed. */
export const reactNative = fromRules('react-native', 'ise-', [
  [/^info Found Xcode (?:workspace|project) "/, { phase: 'xcode', label: 'Preparing the native build' }],
  [/^info Building (?:app )?\(using "xcodebuild /, { phase: 'xcode', label: 'Compiling native code' }],
  [/^- Building the app\.*$/, { phase: 'xcode', label: 'Compiling native code' }],
  [/^success Successfully built the app/, { phase: 'xcode', ended: true }],
  [/^error Failed to build \w+ project\./, { phase: 'xcode', ended: true }],
  [/^info (?:Building|Installing) the app\.\.\./, { phase: 'gradle' }],
]);
