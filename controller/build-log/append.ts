/** Adds bytes to the log of an attempt while it runs, and during its aftermath. */
import type { LogAppended } from '#contract';
import type { AttemptCaller } from '../access/auth.ts';
import { writerOf } from '../attempts/writers.ts';
import { type Refusal, refusal } from '../refusals.ts';
import { logObject } from './build-log.ts';

/**
 * Adds to the caller's own log. Refused: `wrong_offset` with the offset that is expected, `log_sealed`,
 * `too_large`, and what writers.ts refuses.
 *
 * With a run token this asks no database, because it is the hot path of a build. Then only sealing ends the
 * aftermath.
 */
export async function appendLog(
  env: Env,
  caller: AttemptCaller,
  { buildId, attempt, offset }: { buildId: string; attempt: number; offset: number },
  bytes: Uint8Array<ArrayBuffer>,
  now: number,
): Promise<({ ok: true } & LogAppended) | Refusal> {
  const writer = await writerOf(env, caller, buildId, attempt, 'log', now);
  if (!writer.ok) return writer;
  const result = await logObject(env, buildId, attempt).append(offset, bytes);
  if (result.ok) return result;
  if (result.reason === 'sealed')
    return refusal('log_sealed', `the log of attempt ${attempt} is sealed at ${result.length} bytes`);
  if (result.reason === 'full')
    return refusal('too_large', `the log is full at ${result.length} bytes; nothing more is stored`);
  return {
    ...refusal('wrong_offset', `offset: the log has ${result.length} bytes, so ${offset} would leave a gap`),
    expectedOffset: result.length,
  };
}
