import { fromRules } from './recogniser.ts';

/** `expo prebuild` and `expo export`. The bundler inside `expo export` is in metro.ts. */
export const expo = fromRules('expo', '-✔›AE', [
  [/^[-✔›] ?(?:Creating|Created) native director/, { phase: 'prebuild', share: 0.2 }],
  [/^[-✔›] ?(?:Updating|Updated) package\.json/, { phase: 'prebuild', share: 0.4 }],
  [/^[-✔›] ?(?:Running prebuild|Config syncing)/, { phase: 'prebuild', share: 0.5 }],
  [/^[-✔›] ?(?:Finished prebuild|Config synced)/, { phase: 'prebuild', ended: true }],
  [/^› (?:Assets|Files|(?:ios|android|web) bundles?) \(\d+\):/, { phase: 'bundle', share: 0.98 }],
  [/^(?:App exported to|Exported): \S/, { phase: 'bundle', ended: true }],
]);
