/**
 * Ctrl-C for a command that has a farm to take down: once asks for an orderly end, twice takes everything down at once.
 *
 * Invariant: however often it is pressed, and if whoever reads our output goes away, each happens at most once.
 */

/** A Ctrl-C under npm comes twice: from the terminal, and passed on by npm. */
const SAME_INTERRUPT_MS = 500;

export const INTERRUPTED_EXIT_CODE = 130;

interface InterruptOptions {
  /** Says that an orderly end has begun. */
  onFirst: () => void;
  /** Takes down what there is by now; the process ends when it settles. */
  abandon: () => Promise<void>;
  onError: (error: Error) => void;
}

/** The signal aborts at the first interrupt. */
export function interruptSignal({ onFirst, abandon, onError }: InterruptOptions): AbortSignal {
  const interrupt = new AbortController();
  let interruptedAt = 0;
  const onSignal = () => {
    if (interruptedAt === 0) {
      interruptedAt = performance.now();
      onFirst();
      return interrupt.abort(new Error('interrupted'));
    }
    if (performance.now() - interruptedAt < SAME_INTERRUPT_MS) return;
    interruptedAt = Number.POSITIVE_INFINITY;
    void abandon()
      .catch(onError)
      .finally(() => process.exit(INTERRUPTED_EXIT_CODE));
  };
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, onSignal);
  process.stdout.on('error', onSignal);
  return interrupt.signal;
}
