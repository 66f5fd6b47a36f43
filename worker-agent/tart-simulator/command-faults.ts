/** Plays the faults of the command line itself, before a command does anything. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Arguments } from './arguments.ts';
import { RuntimeError, vmVanished } from './failure.ts';
import { type Faults, readFaults, takeWaitingCommandFault } from './home/faults.ts';
import { exists } from './home/folders.ts';
import { listVms, vmFolder } from './home/vms.ts';

const FAILURES: Record<string, string> = {
  clone: 'No space left on device',
  run: 'Error Domain=VZErrorDomain Code=1 "The virtual machine failed to start." UserInfo={NSLocalizedFailure=Internal Virtualization error., NSLocalizedFailureReason=The virtual machine failed to start.}',
};
const GARBAGE = '[\n  {\n    "Source" : "local",\n    "Na';

/** Does nothing without a fault. With one it throws, never returns, or prints in place of the command. */
export async function playCommandFault(command: string, args: Arguments, tartHome: string): Promise<void> {
  const faults = faultsOf(command, args, tartHome);
  if (faults.has(`${command}-hang`)) await new Promise(() => setInterval(() => {}, 60_000));
  const slowMs = faults.get(`${command}-slow`);
  if (slowMs !== undefined) await sleep(Number(slowMs));
  if (faults.has(`${command}-fail`))
    throw new RuntimeError(FAILURES[command] ?? `the simulator was told that ${command} fails`);
  if (command === 'list' && faults.has('list-race') && isThirdCall(tartHome)) throw vmVanished();
  if (faults.has(`${command}-garbage`)) {
    console.log(GARBAGE);
    process.exit(0);
  }
}

/** Simultaneous calls may count as one. */
function isThirdCall(tartHome: string): boolean {
  const file = join(tartHome, 'simulator', 'list-calls');
  const calls = 1 + Number(exists(file) ? readFileSync(file, 'utf8') : 0);
  writeFileSync(file, String(calls));
  return calls % 3 === 0;
}

function faultsOf(command: string, args: Arguments, tartHome: string): Faults {
  if (command === 'clone') return takeWaitingCommandFault(tartHome);
  if (command === 'list') return new Map(listVms(tartHome).flatMap((vm) => [...readFaults(vm.folder)]));
  const name = args.positionals[0];
  return name ? readFaults(vmFolder(tartHome, name)) : new Map();
}
