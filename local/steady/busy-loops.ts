/**
 * Keeps all processors busy, as the other work of a shared machine does.
 *
 * Invariant: the loops are threads of this process, so that none can outlive it.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';

export function startBusyLoops(count = availableParallelism()): AsyncDisposable {
  const loops = Array.from({ length: count }, () => new Worker('for (;;);', { eval: true }));
  return {
    async [Symbol.asyncDispose]() {
      await Promise.all(loops.map((loop) => loop.terminate()));
    },
  };
}
