import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { answerOfThread } from '../../../worker-agent/files/answer-of-thread.ts';

test('what a thread has said while this process stood still is heard, though the time is up', async () => {
  const said = new Int32Array(new SharedArrayBuffer(4));
  const script = `
    const { parentPort, workerData } = require('node:worker_threads');
    parentPort.postMessage('the answer');
    Atomics.store(workerData, 0, 1);
    Atomics.notify(workerData, 0);`;
  const thread = new Worker(script, { eval: true, workerData: said });
  const answer = answerOfThread(thread, 1, new AbortController().signal);
  Atomics.wait(said, 0, 0);
  expect(await answer).toBe('the answer');
});
