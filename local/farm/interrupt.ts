/**
 * Handles Ctrl-C for a command that runs a farm. The first Ctrl-C asks for an orderly end. The second takes
 * everything down at once.
 *
 * Invariant: each of the two happens at most once, for any number of Ctrl-C, and also if the reader of our
 * output ends.
 */

/** Under npm a Ctrl-C arrives twice: from the terminal, and from npm, which passes it on. */
const SAME_INTERRUPT_MS = 500;

export const INTERRUPTED_EXIT_CODE = 130;

interface InterruptOptions {
  /** Called when an orderly end begins. */
  onFirst: () => void;
  /** Takes down everything that exists by now. The process ends when it settles. */
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
