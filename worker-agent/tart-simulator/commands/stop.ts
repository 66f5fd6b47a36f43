/** Does `tart stop`: ends the VM at once. A `tart run` that hangs is killed after the time-out. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from '../command.ts';
import { VM_NAME } from '../command.ts';
import { vmNotRunning } from '../failure.ts';
import { isSuspended, openVm, runnerOf, touch } from '../home/vms.ts';

const POLL_MS = 100;

export const stop: Command = {
  name: 'stop',
  overview: 'Stop a VM',
  positionals: [VM_NAME],
  options: [
    {
      names: ['--timeout', '-t'],
      value: 'timeout',
      max: Number.MAX_SAFE_INTEGER,
      help: 'Seconds to wait for graceful termination before forcefully terminating the VM',
    },
  ],
  async run(args, tartHome) {
    const vm = openVm(tartHome, args.word(0));
    touch(vm);
    const runner = runnerOf(vm);
    if (!runner) {
      if (!isSuspended(vm)) throw vmNotRunning(vm.name);
      return rmSync(join(vm.folder, 'state.vzvmsave'));
    }
    const giveUpAt = performance.now() + args.number('--timeout', 30) * 1000;
    signal(runner.pid, 'SIGINT');
    while (performance.now() < giveUpAt) {
      await sleep(POLL_MS);
      if (runnerOf(vm)?.runId !== runner.runId) return;
    }
    signal(runner.pid, 'SIGKILL');
  },
};

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has just ended.
  }
}
