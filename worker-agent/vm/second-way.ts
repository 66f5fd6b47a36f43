/**
 * Looks at a VM without its network, by `tart exec`, when SSH does not answer. So a VM that is frozen, one
 * whose network is gone and one whose SSH server has died are told apart. It needs Tart's guest agent in the
 * image.
 *
 * Invariant: one call, within a limit. Only an answer proves something: a VM without a guest agent is as
 * silent as a frozen one.
 */
import { withoutSlash } from '../guest/arguments.ts';
import type { Tart } from '../tart/tart.ts';

export type SecondLook =
  | { answers: true; ms: number; controller: { reachable: boolean; detail: string } }
  | { answers: false; error: string };

/** For curl in the VM, whose network may be slow to fail. */
const CURL_SECONDS = 3;

/** Null if there is no VM that runs, so that nothing is learned. */
export async function lookWithoutNetwork(options: {
  tart: Pick<Tart, 'exec'>;
  name: string;
  controllerUrl: string;
  limitMs: number;
  signal?: AbortSignal | undefined;
}): Promise<SecondLook | null> {
  const { tart, name, controllerUrl, limitMs, signal } = options;
  const startedAt = performance.now();
  const url = `${withoutSlash(controllerUrl)}/health`;
  const words = ['curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', '--max-time', String(CURL_SECONDS), url];
  const asked = await tart.exec(name, words as [string, ...string[]], { limitMs, signal });
  if (!asked.ok) return NO_VM.includes(asked.kind) ? null : { answers: false, error: asked.message };
  const { exitCode, stdout } = asked;
  const status = stdout.trim();
  // Whatever happens to its request, curl prints a status.
  if (!/^\d{3}$/.test(status)) return { answers: false, error: `tart exec: curl ended with exit code ${exitCode}` };
  const reachable = exitCode === 0 && status === '200';
  const detail = exitCode === 0 ? `HTTP ${status}` : `curl: exit code ${exitCode}, HTTP ${status}`;
  return { answers: true, ms: Math.round(performance.now() - startedAt), controller: { reachable, detail } };
}

const NO_VM: readonly string[] = ['not_found', 'not_running', 'no_tart'];
