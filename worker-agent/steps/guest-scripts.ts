/**
 * Finds the guest scripts that an attempt uses after a restart of the agent.
 *
 * Invariant: an attempt keeps the guest scripts that it began with, even after an update of the agent. There
 * are two exceptions, and both get the scripts of this agent if the key is free: attempts that began before
 * there were guest scripts, and those whose scripts this agent does not speak. They can continue, because the
 * layout of an attempt's folder in the VM has stayed the same since then.
 */
import { AttemptOver, failed } from '../ending.ts';
import { askScripts, problemOf, settleScripts } from '../guest/installation.ts';
import { speaks } from '../guest/scripts.ts';
import type { Booted } from './boot.ts';
import type { AttemptContext } from './context.ts';
import { step } from './step.ts';

const STEP = 'guest_scripts';

/** Does nothing for an attempt before its checks, because the check `guest_scripts` chooses the scripts. */
export async function resumeScripts(context: AttemptContext, { vm, guest }: Booted): Promise<void> {
  const { journal } = context;
  if (!journal.reached('checked')) return;
  const { scripts } = journal.state;
  if (scripts !== null && speaks(scripts)) {
    vm.scripts.version = scripts;
    return;
  }
  await step(context, STEP, async () => {
    const seen = await guest.attempt(askScripts).catch(refuse);
    const problem = problemOf(seen);
    if (problem) throw failed('health_check_failed', STEP, `${problem.detail}. ${problem.fix}`);
    await guest.attempt((ssh, signal) => settleScripts(ssh, vm.scripts, seen, signal)).catch(refuse);
    await journal.update({ scripts: vm.scripts.version });
  });
}

function refuse(error: Error): never {
  throw error instanceof AttemptOver ? error : failed('transfer_failed', STEP, error.message);
}
