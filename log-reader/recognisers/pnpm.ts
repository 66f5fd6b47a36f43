import { durationMs, fromRules, ratio } from './recogniser.ts';

/** pnpm prints counters. It first resolves, then reuses or downloads, then adds to node_modules. */
export const pnpm = fromRules('pnpm', 'PDLS', [
  [
    /^Progress: resolved (\d+), reused (\d+), downloaded (\d+), added (\d+)(, done)?/,
    (match) => {
      const [, resolved, reused, downloaded, added] = match;
      const fetched = Number(reused) + Number(downloaded);
      // Half for fetching, half for adding. Resolving increases its own total, so an early share means
      // little.
      const share = (ratio(String(fetched), resolved) + ratio(added, resolved)) / 2;
      return {
        phase: 'install',
        done: fetched + Number(added),
        share: Math.min(share, 0.95),
        ...(match[5] && { size: Number(added) }),
      };
    },
  ],
  [
    /^Done in ([\d.]+m?s)(?: using pnpm v\S+)?$/,
    (match) => ({
      phase: 'install',
      ended: true,
      tookMs: durationMs(match[1] ?? ''),
    }),
  ],
  [
    /^(?:Lockfile is up to date, resolution step is skipped|Packages: \+\d+|Scope: all \d+ workspace projects)/,
    {
      phase: 'install',
    },
  ],
]);
