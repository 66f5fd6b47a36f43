/**
 * Keeps all processors busy, as the other work of a shared machine does.
 *
 * Invariant: the loops are threads of this process, so that none can outlive it.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';

export function startBusyLoops(): AsyncDisposable {
  const loops = Array.from({ length: availableParallelism() }, () => new Worker('for (;;);', { eval: true }));
  return {
    async [Symbol.asyncDispose]() {
      await Promise.all(loops.map((loop) => loop.terminate()));
    },
  };
}
