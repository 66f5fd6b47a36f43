/** Reports the progress of a boot: the begin and the end of each step, with its duration. */
export type BootStep = 'clone' | 'set' | 'run' | 'address' | 'ssh';

export interface BootProgress {
  step: BootStep;
  status: 'started' | 'done' | 'failed';
  /** 0 for started. */
  durationMs: number;
  detail: string;
}

/**
 * Runs one step and reports its begin and its end. Rejects with the signal's reason if the signal was first.
 */
export async function reportStep<T extends { ok: true; address?: string } | { ok: false; message: string }>(
  { onStep, signal }: { onStep?: ((progress: BootProgress) => void) | undefined; signal: AbortSignal },
  step: BootStep,
  work: () => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const startedAt = performance.now();
  onStep?.({ step, status: 'started', durationMs: 0, detail: '' });
  const result = await work();
  const durationMs = Math.round(performance.now() - startedAt);
  const detail = result.ok ? (result.address ?? '') : result.message;
  onStep?.({ step, status: result.ok ? 'done' : 'failed', durationMs, detail });
  return result;
}
