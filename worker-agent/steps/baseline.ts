/**
 * Measures the load of a VM while no command runs in it yet: the load of macOS's own services, of the monitor
 * and of the agent. The clock of the build's output compares later loads with it.
 *
 * Invariant: measuring ends no attempt. Each look is one try over the present connection, which delays the
 * command by LOOK_MS at most. Without two looks there is no baseline, and the clock never rests.
 */
import { baselineOf } from '../build-log/silent-but-working.ts';
import { parseUsage, type Usage } from '../guest/answers.ts';
import { buildUsage } from '../guest/commands.ts';
import type { Vm } from '../vm/vm.ts';
import type { AttemptContext } from './context.ts';

const LOOK_MS = 5_000;

export class BaselineLooks {
  readonly #context: Pick<AttemptContext, 'key' | 'signal' | 'journal'>;
  readonly #vm: Pick<Vm, 'ssh'>;
  readonly #seen: Usage[] = [];

  constructor(context: Pick<AttemptContext, 'key' | 'signal' | 'journal'>, vm: Pick<Vm, 'ssh'>) {
    this.#context = context;
    this.#vm = vm;
  }

  /** Looks once. Ignores a look that fails. Rejects only if the attempt has ended meanwhile. */
  async look(): Promise<void> {
    const { key, signal } = this.#context;
    const { ssh } = this.#vm;
    try {
      const { stdout } = await ssh.exec(buildUsage(key), { timeoutMs: LOOK_MS, signal });
      const usage = parseUsage(stdout.toString('latin1'));
      // The guest's clock has whole seconds, which is too coarse for spans of a second or two.
      if (usage) this.#seen.push({ ...usage, atMs: performance.now() });
    } catch {
      signal.throwIfAborted();
    }
  }

  /** Writes the measured baseline into the journal. */
  async note(): Promise<void> {
    await this.#context.journal.update({ baseline: baselineOf(this.#seen) });
  }
}
