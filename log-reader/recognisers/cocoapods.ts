import { fromRules } from './recogniser.ts';

/**
 * CocoaPods prints one line for each pod. Its last line has the number of pods, which also shows how much
 * Xcode has to compile.
 */
export const cocoapods = fromRules('cocoapods', 'IUPADFG[-✔>🔍', [
  [/^(?:Installing|Using) \S+(?:\/\S+)? \((?:was )?[\d.]+\S*(?: .*)?\)$/, { phase: 'pods', work: 1 }],
  [
    /^Pod installation complete! There (?:are|is) \d+ dependenc\S+ from the Podfile and (\d+) total pods? installed/,
    (match) => ({ phase: 'pods', ended: true, size: Number(match[1]) }),
  ],
  [/^(?:Analyzing dependencies|Downloading dependencies|Using Expo modules|Installing Ruby Gems)/, { phase: 'pods' }],
  [
    /^Found \d+ modules? for target|^Auto-linking React Native modules?|^\[Expo\] Enabling modular|^Configuring the target with the/,
    { phase: 'pods' },
  ],
  // React Native's scripts print these lines while pods are installed. Xcode also runs some of the scripts.
  [/^\[(?:Codegen|SPM|Privacy Manifest Aggregation)\] /, { phase: 'pods', labelInside: 'Generating native code' }],
  [
    /^\[(?:ReactNativeDependencies|ReactNativeCore|Hermes)\] (?:Setting up|Building from source|Source:|Using |No |Cache |Saved |Verifying |Tarball |RCT_|Download|Failed |Found )/,
    { phase: 'pods' },
  ],
  // pod-install, and the command line of React Native.
  [/^🔍️? ?Scanning for pods|^> (?:bundle exec )?pod (?:install|update)\b/u, { phase: 'pods' }],
  [/^[-✔] (?:Installing CocoaPods|Installing Ruby Gems|Updating CocoaPods)/, { phase: 'pods' }],
  [/^Generating Pods project/, { phase: 'pods', share: 0.92 }],
  [/^Integrating client project/, { phase: 'pods', share: 0.97 }],
]);
