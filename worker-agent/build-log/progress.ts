/**
 * Reads from the log how far the build is, and at its end what the next build of the project may learn.
 *
 * Invariant: no log can make it fail, and no decision depends on its label for people or on its figure.
 */
import type { Assignment, ProgressHistory } from '#contract';
import { createProgressParser, type Progress, type ProgressParser } from '../../log-reader/progress/parser.ts';

export interface LogProgressOptions {
  assignment: Pick<Assignment, 'command' | 'platform' | 'history'>;
  /** By the wall clock. */
  commandStartedAtMs: number;
}

export class LogProgress {
  readonly #parser: ProgressParser;
  /** How long the command had run when this was made. From then on a clock counts that cannot be set back. */
  readonly #elapsedAtMs: number;
  readonly #constructedAtMs = performance.now();
  #endedAtMs: number | null = null;
  /** False once a part of the log was read later than it was printed, because its times would be wrong. */
  #whole = true;

  constructor({ assignment, commandStartedAtMs }: LogProgressOptions) {
    const { command, platform, history } = assignment;
    this.#parser = createProgressParser({ command, platform, history: history ?? null });
    this.#elapsedAtMs = Math.max(0, Date.now() - commandStartedAtMs);
  }

  /**
   * Takes bytes that were printed before this was made. The time is spread evenly over them: they end at
   * `share` of all that had been printed.
   */
  pushEarlier(bytes: Uint8Array, share: number): void {
    this.#whole = false;
    this.#parser.push(bytes, this.#elapsedAtMs * Math.min(1, share));
  }

  push(bytes: Uint8Array): void {
    this.#parser.push(bytes, this.#nowMs());
  }

  /** The command has ended, so the clock stops. */
  end(): void {
    this.#endedAtMs ??= this.#nowMs();
  }

  snapshot(): Progress {
    const progress = this.#parser.snapshot(this.#nowMs());
    return this.#endedAtMs === null ? progress : { ...progress, etaMs: null };
  }

  /** For the next build of the project. Undefined if a part of the log was not read as it was printed. */
  history(): ProgressHistory | undefined {
    return this.#whole ? this.#parser.record(this.#nowMs()) : undefined;
  }

  #nowMs(): number {
    return this.#endedAtMs ?? Math.round(this.#elapsedAtMs + performance.now() - this.#constructedAtMs);
  }
}
