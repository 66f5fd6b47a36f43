/**
 * Examines a VM without its network, by `tart exec`, when SSH does not answer. This distinguishes a frozen
 * VM, a VM without a network and a VM whose SSH server has died. It needs Tart's guest agent in the image.
 *
 * Invariant: one call, within a limit. Only an answer proves something: a VM without a guest agent is as
 * silent as a frozen one.
 */
import { withoutSlash } from '../guest/arguments.ts';
import type { Tart } from '../tart/tart.ts';

export type SecondLook =
  | {
      answers: true;
      /** The time until the VM answered. */
      ms: number;
      /** Null if the VM did not finish its request to the controller. */
      controller: { reachable: boolean; detail: string } | null;
    }
  | { answers: false; error: string };

/** For curl in the VM, because its network may be slow to fail. */
const CURL_SECONDS = 3;
/**
 * Printed in the VM before curl runs there, so that a look that is cut off still proves that the VM lives.
 */
const ALIVE = 'alive';

/**
 * Null if no VM runs, so that nothing is learned. `onAlive` is called with the milliseconds as soon as the VM
 * answers. The limit applies to that answer, and once more to the rest.
 */
export async function lookWithoutNetwork(options: {
  tart: Pick<Tart, 'exec'>;
  name: string;
  controllerUrl: string;
  limitMs: number;
  signal?: AbortSignal | undefined;
  onAlive?: (ms: number) => void;
}): Promise<SecondLook | null> {
  const { tart, name, controllerUrl, limitMs, signal, onAlive } = options;
  const startedAt = performance.now();
  let aliveMs: number | undefined;
  const onLine = (line: string) => {
    if (aliveMs !== undefined || line.trim() !== ALIVE) return;
    aliveMs = Math.round(performance.now() - startedAt);
    onAlive?.(aliveMs);
  };
  const url = `${withoutSlash(controllerUrl)}/health`;
  const curl = ['curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', '--max-time', String(CURL_SECONDS), url];
  const words = ['sh', '-c', `echo ${ALIVE}; exec "$@"`, 'sh', ...curl] as const;
  const asked = await tart.exec(name, words, { limitMs, signal, onLine });
  if (aliveMs === undefined) {
    if (asked.ok) return { answers: false, error: `tart exec: sh printed nothing, exit code ${asked.exitCode}` };
    return NO_VM.includes(asked.kind) ? null : { answers: false, error: asked.message };
  }
  return { answers: true, ms: aliveMs, controller: asked.ok ? controllerSeen(asked) : null };
}

function controllerSeen({ exitCode, stdout }: { exitCode: number; stdout: string }) {
  const status = stdout.trim().split('\n').at(-1) ?? '';
  // curl always prints a status, for any end of its request. Without a status it has not run.
  if (!/^\d{3}$/.test(status)) return null;
  const reachable = exitCode === 0 && status === '200';
  const detail = exitCode === 0 ? `HTTP ${status}` : `curl: exit code ${exitCode}, HTTP ${status}`;
  return { reachable, detail };
}

const NO_VM: readonly string[] = ['not_found', 'not_running', 'no_tart'];
