/**
 * Waits until Tart knows the address of a VM that runs.
 *
 * Invariant: the wait ends within its limit, or at once when the signal aborts, and its outcome is a value.
 */
import { jittered, pause } from '../../client/retry.ts';
import { awakeMs } from '../../client/running-clock.ts';
import { failure, type TartResult } from '../tart/answers.ts';
import type { Tart } from '../tart/tart.ts';

const TRY_PAUSE_MS = 500;
const IP_WAIT_SECONDS = 10;

export async function waitForAddress(
  tart: Tart,
  name: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<TartResult<{ address: string }>> {
  const deadline = awakeMs() + timeoutMs;
  let last = '';
  for (;;) {
    const leftMs = deadline - awakeMs();
    if (leftMs <= 0 || signal.aborted) {
      const message = `no address within ${timeoutMs / 1000} s${last && ` (${last})`}`;
      return failure('ip', 'no_address', null, message);
    }
    const waitSeconds = Math.min(IP_WAIT_SECONDS, Math.ceil(leftMs / 1000));
    const result = await tart.ip(name, { waitSeconds, signal });
    if (result.ok) return result;
    last = result.message;
    if (result.kind === 'no_tart') return result;
    await pause(jittered(TRY_PAUSE_MS), signal).catch(() => {}); // the loop looks at the signal
  }
}
