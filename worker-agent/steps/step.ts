/**
 * Does one step of an attempt: asks the controller until it answers, and tells when a step begins and ends.
 *
 * Invariant: a refusal ends the attempt. The ending is `stopped` if the controller says that it has ended
 * already.
 */
import type { AgentVerdict } from '#contract';
import type { Answer, Refused, Unreachable } from '../../client/answer.ts';
import { untilAnswered } from '../../client/retry.ts';
import { AttemptOver, failed } from '../ending.ts';
import type { AttemptContext } from './context.ts';

/**
 * Asks until the controller answers. Rejects with AttemptOver; `name` is then the step that failed.
 * `endingOfRefusal` decides which refusals end the attempt in their own way.
 */
export async function ask<T>(
  context: AttemptContext,
  name: string,
  call: () => Promise<Answer<T>>,
  endingOfRefusal: (refused: Refused) => AttemptOver | undefined = () => undefined,
): Promise<T> {
  const { signal, limits } = context;
  const answer = await untilAnswered(call, { signal, giveUpAfterMs: limits.outageMs });
  if (answer.ok) return answer.value;
  const ended = answer.kind === 'refused' && (answer.status === 409 || answer.status === 410);
  if (ended) throw new AttemptOver({ kind: 'stopped', message: answer.message });
  const own = answer.kind === 'refused' ? endingOfRefusal(answer) : undefined;
  throw own ?? failed(verdictOf(answer), name, answer.message);
}

/** If the inputs of the build no longer exist, every Mac would fail here, so this Mac is not to blame. */
const verdictOf = (answer: Refused | Unreachable): AgentVerdict =>
  answer.kind === 'refused' && answer.code === 'inputs_gone' ? 'inputs_gone' : 'transfer_failed';

/** Emits an event when `work` begins, and one when it is done or has failed. */
export async function step<T>({ emit }: AttemptContext, name: string, work: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  const durationMs = () => Math.round(performance.now() - startedAt);
  emit({ type: 'step', step: name, status: 'started' });
  try {
    const result = await work();
    emit({ type: 'step', step: name, status: 'done', durationMs: durationMs() });
    return result;
  } catch (error) {
    emit({ type: 'step', step: name, status: 'failed', durationMs: durationMs(), detail: (error as Error).message });
    throw error;
  }
}
