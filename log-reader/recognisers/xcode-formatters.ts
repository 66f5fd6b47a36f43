import { fromRules } from './recogniser.ts';

/**
 * xcpretty (`▸ Compiling A.swift`), Expo's formatter (`› Compiling react-native Pods/Yoga » A.cpp`) and
 * xcbeautify (`[Target] Compiling A.swift`) shorten xcodebuild's commands to one line each: one line, one
 * unit of work.
 */
const ACTION =
  /^(?:[▸›] |\[[\w.+ -]+\] (?!(?:Preparing|Processing|Generating|Creating|Building|Copying|Executing|Planning|Write)\b(?! library)(?!.*\.\w)))(Compiling|Linking|Executing|Running script|Copying|Preparing|Processing|Signing|Packaging|Generating|Creating|Building|Touching|Precompiling|Emitting|Ld|Archiving|Analyzing|Stripping|Merging|Planning|Write|Validate|Building library)\b ?(.*)/;

export const xcodeFormatters = fromRules('xcode-formatters', '▸›[ \tA*BT', [
  [/^[▸›]? ?(?:\*\* )?(?:ARCHIVE|Archive) (?:SUCCEEDED|Succeeded)/, { phase: 'xcode', share: 0.95 }],
  [/^[▸›]? ?(?:\*\* )?(?:EXPORT|Export) (?:SUCCEEDED|Succeeded)/, { phase: 'xcode', share: 0.98 }],
  [/^[▸›]? ?Build Succeeded/, { phase: 'xcode', share: 0.98 }],
  [/^[▸›]? ?(?:Test Succeeded|Tests? Passed)/, { phase: 'test', ended: true }],
  [/^\s+[✔✓✖✗] .*\(\d+\.\d+ seconds\)/, { phase: 'test', work: 1 }],
  [
    ACTION,
    (match) => {
      const what = match[2] ?? '';
      if (match[1] === 'Generating' && /debug|dSYM/i.test(what)) {
        return { phase: 'xcode', work: 1, label: 'Generating debug symbols' };
      }
      if (/Bundle React Native code/.test(what)) return { phase: 'xcode', work: 1, label: 'Bundling JavaScript' };
      return { phase: 'xcode', work: 1, label: 'Compiling native code' };
    },
  ],
]);
