import { durationMs, fromRules } from './recogniser.ts';

export const bun = fromRules('bun', 'b0123456789', [
  [/^bun install v\d/, { phase: 'install' }],
  [
    /^(\d+) packages? installed \[([\d.]+m?s)\]/,
    (match) => ({
      phase: 'install',
      ended: true,
      size: Number(match[1]),
      tookMs: durationMs(match[2] ?? ''),
    }),
  ],
]);
