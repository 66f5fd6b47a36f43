/** Plays the faults of the command line itself, before a command does anything. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Arguments } from './arguments.ts';
import { RuntimeError } from './failure.ts';
import { type Faults, readFaults, takeWaitingCommandFault } from './home/faults.ts';
import { listVms, vmFolder } from './home/vms.ts';

const FAILURES: Record<string, string> = {
  clone: 'No space left on device',
  run: 'Error Domain=VZErrorDomain Code=1 "The virtual machine failed to start." UserInfo={NSLocalizedFailure=Internal Virtualization error., NSLocalizedFailureReason=The virtual machine failed to start.}',
};
const GARBAGE = '[\n  {\n    "Source" : "local",\n    "Na';

/** Does nothing without a fault. With one it throws, never returns, or prints instead of the command. */
export async function playCommandFault(command: string, args: Arguments, tartHome: string): Promise<void> {
  const faults = faultsOf(command, args, tartHome);
  if (faults.has(`${command}-hang`)) await new Promise(() => setInterval(() => {}, 60_000));
  const slowMs = faults.get(`${command}-slow`);
  if (slowMs !== undefined) await sleep(Number(slowMs));
  if (faults.has(`${command}-fail`))
    throw new RuntimeError(FAILURES[command] ?? `the simulator was told that ${command} fails`);
  if (faults.has(`${command}-garbage`)) {
    console.log(GARBAGE);
    process.exit(0);
  }
}

function faultsOf(command: string, args: Arguments, tartHome: string): Faults {
  if (command === 'clone') return takeWaitingCommandFault(tartHome);
  if (command === 'list') return new Map(listVms(tartHome).flatMap((vm) => [...readFaults(vm.folder)]));
  const name = args.positionals[0];
  return name ? readFaults(vmFolder(tartHome, name)) : new Map();
}
