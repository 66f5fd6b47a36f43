/**
 * Runs one attempt on this Mac: watches what may end it early, does the work, closes it.
 *
 *   begin | adopt ──► beats + watch ──► work ──► ending ──► close: evidence, result, VM kept or gone, told
 *   lost | discard | deliver | keep ───────────────▲
 *
 * Invariant: every attempt comes to one ending and is closed, so that nothing of it stays on this Mac. If the
 * disk cannot be written for minutes, the next run of the agent does the rest. The VM is destroyed even so.
 */
import { type Ending, failed } from '../ending.ts';
import { type AttemptContext, type AttemptOptions, createContext } from '../steps/context.ts';
import { contactLimitMs, OUTAGE_FRESH_MS } from '../time-limits.ts';
import { closeAttempt } from './close.ts';
import type { AttemptAction } from './reconcile.ts';
import { type Reached, work } from './work.ts';

/**
 * Resolves when nothing of the attempt is left here and its end was told, or when the agent leaves. Rejects
 * if its end could not be written down, or for a bug. Its VM is destroyed then, unless the agent leaves.
 */
export async function runAttempt(options: AttemptOptions, action: AttemptAction): Promise<void> {
  await using context = createContext(options);
  const { journal, emit, resumed } = context;
  emit({ type: 'claimed', vmName: journal.state.vmName, adopted: resumed });
  const { ending, reached } = await LIVES[action](context);
  await closeAttempt(context, ending, reached);
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
    // The rest of the VM may still tell why.
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
    // While the platform lets nobody through, no other Mac can take this build either. This is an outage, not
    // a partition.
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
