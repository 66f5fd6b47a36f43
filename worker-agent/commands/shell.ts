/**
 * `expo-worker shell BUILD [ATTEMPT]`: opens a shell in the VM of a failed attempt that is kept. Takes no
 * lock.
 */
import { pause } from '../../client/retry.ts';
import { KEPT_END_IN_WORDS } from '../events.ts';
import { EXIT } from '../exit-codes.ts';
import { findWay, runShell } from '../shell/open-shell.ts';
import { ownTerminal } from '../shell/own-terminal.ts';
import { AttemptJournal } from '../state/journal.ts';
import { createTart } from '../tart/tart.ts';
import { findKeptVm, type KeptVmOptions } from './kept-vms.ts';
import { timeLeft } from './spans.ts';

const LOOK_MS = 500;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Returns the exit code of the shell, or a failure if something else has ended it. */
export async function shellCommand(options: KeptVmOptions): Promise<number> {
  const { config, journal, name } = await findKeptVm(options);
  const { vmName, image, assignment, kept } = journal.state;
  const over = new AbortController();
  const onSignal = () => over.abort();
  for (const signal of SIGNALS) process.once(signal, onSignal);
  const vm = {
    config: image ? { ...config, vmHostKey: image.hostKey ?? undefined } : config,
    tart: createTart(config),
    vmName,
    key: { buildId: assignment.buildId, attempt: assignment.attempt },
  };
  const watch = watchEnd(journal.dir, over);
  try {
    const way = await findWay(vm, over.signal);
    const ways = way.kind === 'exec' ? ', through Tart’s guest agent' : '';
    process.stderr.write(
      `VM of ${name}${ways}. It is kept for ${timeLeft(kept!.untilMs)} more and has no network. Ctrl-D leaves it; \`expo-worker release ${assignment.buildId}\` ends it.\n`,
    );
    using terminal = ownTerminal();
    const exitCode = await runShell(vm, way, terminal, over.signal).catch(async (error) => {
      // Perhaps the agent has ended the VM. Then the journal says why, and `watch` sees it within this time.
      await pause(2 * LOOK_MS);
      if (watch.ended === null) throw error;
      return null;
    });
    if (exitCode !== null) return exitCode;
    terminal.say(watch.ended === null ? 'The shell was stopped.' : `The VM is kept no longer: ${watch.ended}.`);
    return watch.ended === null ? EXIT.interrupted : EXIT.failure;
  } catch (error) {
    if (!over.signal.aborted) throw error;
    process.stderr.write(watch.ended === null ? '' : `The VM is kept no longer: ${watch.ended}.\n`);
    return watch.ended === null ? EXIT.interrupted : EXIT.failure;
  } finally {
    watch.stop();
    for (const signal of SIGNALS) process.off(signal, onSignal);
  }
}

/** Aborts `over` when the agent keeps the VM no longer. `ended` then says why. */
function watchEnd(dir: string, over: AbortController): { readonly ended: string | null; stop(): void } {
  const stopped = new AbortController();
  let ended: string | null = null;
  const look = async () => {
    for (;;) {
      await pause(LOOK_MS, stopped.signal);
      const journal = await AttemptJournal.open(dir).catch(() => null);
      if (journal?.isKept) continue;
      const reason = journal?.state.kept?.ended;
      ended = reason ? KEPT_END_IN_WORDS[reason] : 'it was deleted';
      return over.abort();
    }
  };
  look().catch(() => {}); // stopped
  return {
    get ended() {
      return ended;
    },
    stop: () => stopped.abort(),
  };
}
