import { fromRules, ratio } from './recogniser.ts';

/** The plain console names each task, the rich one draws a percentage. */
export const gradle = fromRules('gradle', '><WSDB', [
  [/^> Task :\S+/, { phase: 'gradle', work: 1 }],
  [
    /^<[=-]*> (\d+)% (INITIALIZING|CONFIGURING|EXECUTING|WAITING)/,
    (match) => ({
      phase: 'gradle',
      share: match[2] === 'EXECUTING' ? 0.05 + 0.9 * ratio(match[1], '100') : 0,
    }),
  ],
  [/^> (?:Configure project|Transform)\b/, { phase: 'gradle' }],
  [/^(?:Welcome to Gradle|Starting a Gradle Daemon|Downloading https:\/\/services\.gradle\.org)/, { phase: 'gradle' }],
  [/^BUILD (?:SUCCESSFUL|FAILED) in /, { phase: 'gradle', ended: true }],
]);
