/** Chooses the view for a program, a CI job, a terminal or a pipe. */
import { ActionsView } from './actions-view.ts';
import type { View } from './events.ts';
import { JsonView } from './json-view.ts';
import { PlainView } from './plain-view.ts';
import { TerminalView } from './terminal-view.ts';
import { hasScreen } from './who-looks.ts';

interface ViewOptions {
  json: boolean;
  /** The controller's time. */
  now: () => number;
  /** False: the logs alone. */
  withStatus?: boolean;
}

export function viewFor(buildIds: readonly string[], { json, now, withStatus = true }: ViewOptions): View {
  const { stdout: terminal, env } = process;
  if (json) return new JsonView();
  if (env.GITHUB_ACTIONS === 'true') return new ActionsView(terminal, buildIds);
  if (hasScreen()) return new TerminalView({ terminal, buildIds, now, withStatus });
  return new PlainView(terminal, buildIds);
}
