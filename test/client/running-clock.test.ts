import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { awakeTimer } from '../../client/running-clock.ts';
import { until } from '../worker-agent/factories/until.ts';

const CLOCK = new URL('../../client/running-clock.ts', import.meta.url).href;
const LIMIT_MS = 4_000;
const STILL_MS = 6_000;

/** Prints when its timer begins, and later after how many milliseconds on the wall it fired. */
const PROGRAM = `
const { awakeTimer } = await import(${JSON.stringify(CLOCK)});
const startedAt = performance.now();
awakeTimer(${LIMIT_MS}, () => console.log(Math.round(performance.now() - startedAt)));
console.log('begun');`;

function start(): { child: ChildProcess; lines: () => string[] } {
  const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (chunk) => (output += chunk));
  return { child, lines: () => output.trim().split('\n') };
}

test('a process that stood still for longer than a limit has what was left of it', async () => {
  const { child, lines } = start();
  const closed = once(child, 'close');
  await until(() => lines().includes('begun'), 'the timer runs');
  child.kill('SIGSTOP');
  await sleep(STILL_MS); // the test needs the process to be stopped for a while
  child.kill('SIGCONT');
  await closed;
  // At most some two seconds of the limit had passed.
  expect(Number(lines().at(-1))).toBeGreaterThan(STILL_MS + 1_000);
});

test('a timer calls once, and one that is cleared does not', async () => {
  const calls: string[] = [];
  const clear = awakeTimer(20, () => calls.push('cleared'));
  awakeTimer(10, () => calls.push('first'));
  clear();
  awakeTimer(60, () => calls.push('second'));
  await until(() => calls.includes('second'), 'both have called');
  expect(calls).toEqual(['first', 'second']);
});
