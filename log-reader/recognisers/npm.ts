import { durationMs, fromRules } from './recogniser.ts';

/** npm prints almost nothing until it has ended. Then it prints how long it took. */
export const npm = fromRules('npm', 'acrun>', [
  [
    /^(?:added|removed|changed|up to date)\b.*? in ([\d.]+m?s?(?: ?\d+s)?|[\d.]+m)\s*$/,
    (match) => {
      const added = /added (\d+) packages?/.exec(match[0])?.[1];
      return {
        phase: 'install',
        ended: true,
        tookMs: durationMs(match[1] ?? ''),
        ...(added && { size: Number(added) }),
      };
    },
  ],
  [/^npm (?:warn|WARN|notice|info|http) /, { phase: 'install' }],
  [/^> \S+@\S+ (?:pre|post)?install$/, { phase: 'install' }],
]);
