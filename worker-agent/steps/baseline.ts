/**
 * Measures what a VM uses while no command runs in it yet: that of the Mac's own services, of the monitor and
 * of the agent. The clock of the build's output compares with that.
 *
 * Invariant: measuring ends no attempt and waits for nothing. Without two looks there is no baseline, and the
 * clock never rests.
 */
import { baselineOf } from '../build-log/output-clock.ts';
import { AttemptOver } from '../ending.ts';
import { parseUsage, type Usage } from '../guest/answers.ts';
import { buildUsage } from '../guest/commands.ts';
import { isMissingIn } from '../guest/scripts.ts';
import { GUEST_COMMAND_MS } from '../time-limits.ts';
import type { Booted } from './boot.ts';
import type { AttemptContext } from './context.ts';

export class BaselineLooks {
  readonly #context: AttemptContext;
  readonly #booted: Booted;
  readonly #seen: Usage[] = [];

  constructor(context: AttemptContext, booted: Booted) {
    this.#context = context;
    this.#booted = booted;
  }

  /** Looks once. Rejects only with the end of the attempt. */
  async look(): Promise<void> {
    const { key, signal } = this.#context;
    const { vm, guest } = this.#booted;
    const { version } = vm.scripts;
    if (version === null || isMissingIn(version, 'build usage')) return;
    try {
      const { stdout } = await guest.exec(buildUsage(key), { timeoutMs: GUEST_COMMAND_MS });
      const usage = parseUsage(stdout.toString('latin1'));
      // The guest's clock has whole seconds, which is too coarse for spans of a second or two.
      if (usage) this.#seen.push({ ...usage, atMs: performance.now() });
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof AttemptOver) throw error;
    }
  }

  /** Writes down what was measured. */
  async note(): Promise<void> {
    await this.#context.journal.update({ baseline: baselineOf(this.#seen) });
  }
}
