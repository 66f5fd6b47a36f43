/** Keeps the Mac awake for as long as the agent runs: one that sleeps loses its builds, and takes no new ones. */
import { spawn } from 'node:child_process';
import type { Mac } from './programs.ts';

/** `-w`: it ends with us, however we end. Does nothing elsewhere than on a Mac. */
export function keepAwake(mac: Mac, pid: number = process.pid): Disposable {
  if (mac.platform !== 'darwin') return { [Symbol.dispose]() {} };
  // -i no idle sleep, -m no disk sleep, -s no sleep at all on mains power.
  const child = spawn(mac.pathOf('caffeinate'), ['-i', '-m', '-s', '-w', String(pid)], { stdio: 'ignore' });
  child.on('error', () => {}); // a Mac that may sleep still builds; doctor says so
  child.unref();
  return { [Symbol.dispose]: () => void child.kill() };
}
