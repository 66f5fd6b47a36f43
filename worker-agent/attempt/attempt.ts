/**
 * Runs one attempt on this Mac: watches what may end it early, does the work, closes it.
 *
 *   begin | adopt ──► beats + watch ──► work ──► ending ──► close: evidence, result, VM kept or gone, told
 *   lost | discard | deliver | keep ───────────────▲
 *
 * Invariant: every attempt comes to one ending and is closed, so that nothing of it stays on this Mac.
 */
import { jittered, pause } from '../../client/retry.ts';
import { type Ending, failed } from '../ending.ts';
import { type AttemptContext, type AttemptOptions, createContext } from '../steps/context.ts';
import { CLOSE_PAUSE_MS, contactLimitMs, OUTAGE_FRESH_MS } from '../time-limits.ts';
import { destroyVm } from '../vm/vm.ts';
import { closeAttempt } from './close.ts';
import type { AttemptAction } from './reconcile.ts';
import { type Reached, work } from './work.ts';

/** Resolves when nothing of the attempt is left here and its end was told, or when the agent leaves. */
export async function runAttempt(options: AttemptOptions, action: AttemptAction): Promise<void> {
  await using context = createContext(options);
  const { journal, emit, resumed } = context;
  emit({ type: 'claimed', vmName: journal.state.vmName, adopted: resumed });
  const { ending, reached } = await LIVES[action](context);
  await close(context, ending, reached);
}

/**
 * Whatever keeps the attempt from being closed must keep neither its VM nor its slot: a full disk is full of
 * the VM, perhaps. So the VM goes, and the rest is tried again until it is done. An agent that is to leave
 * leaves it to the next one.
 */
async function close(context: AttemptContext, ending: Ending | null, reached: Reached | null): Promise<void> {
  const { journal, tart, emit, drain, leave } = context;
  for (let look = reached; ; look &&= { vm: null, log: null }) {
    try {
      return await closeAttempt(context, journal.state.result ? null : ending, look);
    } catch (error) {
      const why = (error as Error).message;
      emit({
        type: 'warning',
        message: `the attempt cannot be closed (${why}); its VM goes, and the agent tries again`,
      });
      const { vmName, run } = journal.state;
      const removed = await destroyVm({ tart, name: vmName, run: run ?? undefined, signal: leave });
      if (removed.ok) emit({ type: 'slot_free', vmName });
      if (drain.aborted || leave.aborted) throw error;
      await pause(jittered(CLOSE_PAUSE_MS), AbortSignal.any([drain, leave])).catch(() => {});
    }
  }
}

/** How an attempt comes to its end. `ending` is null if its result is in the journal already. */
type Life = (context: AttemptContext) => Promise<{ ending: Ending | null; reached: Reached | null }>;

const LIVES: Record<AttemptAction, Life> = {
  begin: workUntilEnd,
  adopt: workUntilEnd,
  async deliver({ journal, beats }) {
    const { result, reported } = journal.state;
    // The controller counts the attempt until it has the result, unless it has ended the attempt itself.
    if (result && result.type !== 'evidence' && !reported) beats.start();
    return { ending: null, reached: null };
  },
  keep: (context) => LIVES.deliver(context),
  async lost() {
    const message = 'the agent was started again and the VM of the attempt was no longer running';
    // What is left of the VM may still tell why.
    return { ending: { kind: 'failed', verdict: 'worker_restarted', message }, reached: { vm: null, log: null } };
  },
  async discard() {
    return { ending: { kind: 'stopped', message: 'the controller no longer counts this attempt' }, reached: null };
  },
};

async function workUntilEnd(context: AttemptContext): Promise<{ ending: Ending; reached: Reached }> {
  context.beats.start();
  using _watch = watchForEnd(context);
  return await work(context);
}

/** Ends the attempt when the operator stops the agent, or when no beat was accepted for too long. */
function watchForEnd(context: AttemptContext): Disposable {
  const { journal, limits, stop, contact } = context;
  const limitMs = contactLimitMs(journal.state.assignment, limits);
  const onStop = () => context.end(failed('worker_stopped', undefined, 'the agent was stopped by its operator'));
  if (stop.aborted) onStop();
  stop.addEventListener('abort', onStop, { once: true });
  const look = () => {
    const lostMs = contact.lostForMs();
    if (lostMs < limitMs) return;
    // While the platform lets nobody through, no other Mac can take this build either: an outage, no
    // partition.
    const outage = contact.outageWithin(Math.min(OUTAGE_FRESH_MS, limitMs));
    const longestMs = outage === null ? limitMs : Math.max(limitMs, limits.outageMs);
    if (lostMs < longestMs) return;
    const [lost, limit] = [lostMs, longestMs].map((ms) => `${Math.round(ms / 1000)} s`);
    const why = outage === null ? '' : `: ${outage}`;
    context.end(failed('worker_lost', 'contact', `no beat was accepted for ${lost} (limit ${limit})${why}`));
  };
  const timer = setInterval(look, Math.min(1_000, Math.max(50, limitMs / 20)));
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      stop.removeEventListener('abort', onStop);
    },
  };
}
