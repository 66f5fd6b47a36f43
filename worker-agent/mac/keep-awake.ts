/**
 * Keeps the Mac awake while the agent runs, because a Mac that sleeps loses its builds and takes no new ones.
 */
import { spawn } from 'node:child_process';
import type { Mac } from './programs.ts';

/** Does nothing on another system than macOS. */
export function keepAwake(mac: Mac, pid: number = process.pid): Disposable {
  if (mac.platform !== 'darwin') return { [Symbol.dispose]() {} };
  // -i: no idle sleep. -m: no disk sleep. -s: no sleep on mains power. -w: until this process has ended.
  const child = spawn(mac.pathOf('caffeinate'), ['-i', '-m', '-s', '-w', String(pid)], { stdio: 'ignore' });
  child.on('error', () => {}); // builds run on a Mac that may sleep, too; doctor warns of it
  child.unref();
  return { [Symbol.dispose]: () => void child.kill() };
}
