/**
 * What the build's log tells while it is followed: how far the build is, and at its end what the next build of the project may learn from it.
 *
 * Invariant: a label for people and a figure. Nothing depends on it, and no log can make it fail.
 */
import { createReadStream } from 'node:fs';
import type { Assignment, ProgressHistory } from '#contract';
import { createProgressParser, type Progress, type ProgressParser } from '../../log-reader/progress/parser.ts';

export interface LogProgressOptions {
  assignment: Pick<Assignment, 'command' | 'platform' | 'history'>;
  /** Wall clock. */
  commandStartedAtMs: number;
}

export class LogProgress {
  /** The longest time for which nothing was printed. */
  quietMs = 0;
  readonly #parser: ProgressParser;
  /** At the moment of construction; from there on the clock cannot be set back. */
  readonly #elapsedAtMs: number;
  readonly #constructedAtMs = performance.now();
  #pushedAtMs: number;
  #endedAtMs: number | null = null;
  /** False once a part of the log was read later than it was printed: its times would be wrong. */
  #whole = true;

  constructor({ assignment, commandStartedAtMs }: LogProgressOptions) {
    const { command, platform, history } = assignment;
    this.#parser = createProgressParser({ command, platform, history: history ?? null });
    this.#elapsedAtMs = Math.max(0, Date.now() - commandStartedAtMs);
    this.#pushedAtMs = this.#elapsedAtMs;
  }

  /** Takes in what a former run of the agent had read, its time spread evenly. Never rejects. */
  async reread(path: string, lengthBytes: number): Promise<void> {
    if (lengthBytes === 0) return;
    this.#whole = false;
    let readBytes = 0;
    try {
      for await (const chunk of createReadStream(path, { end: lengthBytes - 1 }) as AsyncIterable<Buffer>) {
        readBytes += chunk.length;
        this.#parser.push(chunk, (this.#elapsedAtMs * readBytes) / lengthBytes);
      }
    } catch {
      // The figure is then less good.
    }
  }

  push(bytes: Uint8Array): void {
    const nowMs = this.#nowMs();
    this.quietMs = Math.max(this.quietMs, nowMs - this.#pushedAtMs);
    this.#pushedAtMs = nowMs;
    this.#parser.push(bytes, nowMs);
  }

  /** The command has ended: no time passes any more. */
  end(): void {
    this.#endedAtMs ??= this.#nowMs();
  }

  snapshot(): Progress {
    const progress = this.#parser.snapshot(this.#nowMs());
    return this.#endedAtMs === null ? progress : { ...progress, etaMs: null };
  }

  /** For the next build of the project; undefined if not all of it was seen as it was printed. */
  history(): ProgressHistory | undefined {
    return this.#whole ? this.#parser.record(this.#nowMs()) : undefined;
  }

  #nowMs(): number {
    return this.#endedAtMs ?? Math.round(this.#elapsedAtMs + performance.now() - this.#constructedAtMs);
  }
}
