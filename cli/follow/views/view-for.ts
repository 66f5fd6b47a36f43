/** Chooses how builds are shown, by who looks. */
import type { View } from './events.ts';
import { JsonView } from './json-view.ts';
import { PlainView } from './plain-view.ts';

export function viewFor(buildIds: readonly string[], { json }: { json: boolean }): View {
  if (json) return new JsonView();
  return new PlainView(process.stdout, buildIds);
}
