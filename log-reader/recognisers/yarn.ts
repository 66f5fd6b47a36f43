import { durationMs, fromRules, ratio } from './recogniser.ts';

/**
 * Guesses of the share of time of each step. Yarn 2 and later names its steps but does not count them. The
 * link step also builds packages.
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
