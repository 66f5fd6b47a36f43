/**
 * The life of one attempt on this host: what may end it early, the work itself, its end.
 *
 *   begin | adopt ──► watch + beat ──► buildInVm ──► ending ──► closeAttempt (evidence, result, VM destroyed, told)
 *   lost | discard | deliver ─────────────────────────▲
 *
 * Invariant: whatever happens, one ending is reached and closeAttempt runs: nothing of the attempt stays on this host.
 */

import { AttemptOver, type Ending, failed } from '../ending.ts';
import { contactLimitMs } from '../limits.ts';
import { type AttemptContext, AttemptRun } from '../steps/context.ts';
import { closeAttempt } from './close.ts';
import type { Action } from './reconcile.ts';
import { buildInVm } from './work.ts';

/** Resolves when nothing of the attempt is left here and the controller knows of its end, or when the agent leaves. */
export async function runAttempt(context: AttemptContext, action: Exclude<Action, 'claim' | 'none'>): Promise<void> {
  await using run = new AttemptRun(context);
  const { journal, emit } = context;
  emit({ type: 'claimed', vmName: journal.state.vmName, adopted: context.resumed });
  await closeAttempt(run, await ENDING_OF[action](run), { withEvidence: action === 'begin' || action === 'adopt' });
}

const ENDING_OF: Record<Exclude<Action, 'claim' | 'none'>, (run: AttemptRun) => Promise<Ending | null>> = {
  begin: work,
  adopt: work,
  /** The journal has it already. */
  deliver: async (run) => {
    const { result } = run.context.journal.state;
    if (result && result.type !== 'evidence') run.startBeats();
    return null;
  },
  lost: async () => ({
    kind: 'failed',
    verdict: 'worker_restarted',
    message: 'the agent came back and its VM was not running any more',
  }),
  discard: async () => ({ kind: 'stopped', message: 'the controller does not count this attempt any more' }),
};

async function work(run: AttemptRun): Promise<Ending> {
  run.startBeats();
  using _watch = watchForEnd(run);
  try {
    return await buildInVm(run);
  } catch (error) {
    if (run.signal.aborted) return (run.signal.reason as AttemptOver).ending;
    if (error instanceof AttemptOver) return error.ending;
    // A bug of ours must not hold the Mac, nor pass for the user's fault.
    const message = `the agent failed: ${(error as Error).stack ?? error}`;
    return { kind: 'failed', verdict: 'transfer_failed', step: 'agent', message };
  }
}

/** What ends an attempt from outside, beside the controller's answers to beats. */
function watchForEnd(run: AttemptRun): Disposable {
  const { journal, limits, stop } = run.context;
  const limitMs = contactLimitMs(journal.state.assignment, limits);
  const onStop = () => run.end(failed('worker_stopped', undefined, 'the agent was stopped by its operator'));
  if (stop.aborted) onStop();
  stop.addEventListener('abort', onStop, { once: true });
  const timer = setInterval(
    () => {
      const lostMs = run.contact.lostForMs();
      const message = () =>
        `no beat was accepted for ${Math.round(lostMs / 1000)} s (limit ${Math.round(limitMs / 1000)} s)`;
      if (lostMs >= limitMs) run.end(failed('worker_lost', 'contact', message()));
    },
    Math.min(1_000, Math.max(50, limitMs / 20)),
  );
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      stop.removeEventListener('abort', onStop);
    },
  };
}
