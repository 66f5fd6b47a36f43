import { durationMs, fromRules, ratio } from './recogniser.ts';

/**
 * Shares of time of yarn 2 and later, which names its steps without counting them. Guesses; the link step
 * builds.
 */
const BERRY_STEPS: Record<string, number> = { Resolution: 0.02, Fetch: 0.15, Link: 0.6 };

export const yarn = fromRules('yarn', 'y[➤', [
  [/^yarn install v\d/, { phase: 'install' }],
  [
    /^\[(\d)\/(\d)\] (?:\S+ +)?(?:Validating|Resolving|Fetching|Linking|Building|Rebuilding|Cleaning)/,
    (match) => ({
      phase: 'install',
      share: ratio(String(Number(match[1]) - 1), match[2]),
    }),
  ],
  [
    /^➤ YN\d{4}: ┌ (Resolution|Fetch|Link) step/,
    (match) => ({
      phase: 'install',
      share: BERRY_STEPS[match[1] ?? ''] ?? 0,
    }),
  ],
  [
    /^➤ YN0000: (?:· )?Done (?:with warnings )?in (.+)$/,
    (match) => ({
      phase: 'install',
      ended: true,
      tookMs: durationMs(match[1] ?? ''),
    }),
  ],
  [/^➤ YN\d{4}:/, { phase: 'install' }],
]);
