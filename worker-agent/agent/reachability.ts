/**
 * Tells when the controller is lost and when it is reached again.
 *
 * Invariant: each change is told once. A refusal counts as reached, because it is an answer.
 */
import type { Answer } from '../../client/answer.ts';
import type { Emit } from '../events.ts';

export class Reachability {
  readonly #emit: Emit;
  #reached = true;

  constructor(emit: Emit) {
    this.#emit = emit;
  }

  /** Takes note of an answer and returns it. */
  heard<T>(answer: Answer<T>): Answer<T> {
    const reached = answer.ok || answer.kind === 'refused';
    if (reached !== this.#reached)
      this.#emit({ type: 'controller', reachable: reached, message: answer.ok ? '' : answer.message });
    this.#reached = reached;
    return answer;
  }
}
