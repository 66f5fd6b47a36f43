import { durationMs, fromRules, ratio } from './recogniser.ts';

/**
 * Metro's total grows while it finds modules, so its own percentage lags; the count of modules is kept beside
 * it.
 */
export const metro = fromRules('metro', 'iAWBλSDCwd', [
  [
    /^(?:iOS|Android|Web|BUNDLE|λ) .*[░▓]\s+([\d.]+)% \(\s*(\d+)\/\s*(\d+)\)/,
    (match) => ({
      phase: 'bundle',
      share: Math.min(ratio(match[1], '100'), 0.95),
      done: Number(match[2]),
    }),
  ],
  [
    /^(?:iOS|Android|Web|λ) Bundled (\d+)ms .*\((\d+) modules?\)/,
    (match) => ({
      phase: 'bundle',
      share: 0.96,
      done: Number(match[2]),
      tookMs: durationMs(`${match[1]}ms`),
    }),
  ],
  [
    /^(?:Starting Metro Bundler|Welcome to Metro|Bundler cache is empty|warning: Bundler cache is empty)/,
    {
      phase: 'bundle',
    },
  ],
  [/^(?:info )?Writing bundle output to:/i, { phase: 'bundle', share: 0.97 }],
  [/^(?:info )?Done writing (?:bundle output|sourcemap output)/i, { phase: 'bundle', share: 0.98 }],
  [/^(?:info )?(?:Copying \d+ asset files|Done copying assets)/i, { phase: 'bundle', share: 0.98 }],
]);
