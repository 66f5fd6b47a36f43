/**
 * The agent's own log file. launchd cannot rotate what it holds open, so the agent writes it itself.
 *
 * Invariant: at most FILES_MAX files of about FILE_MAX_BYTES. A file that cannot be written costs its lines, never a build.
 */
import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';

const FILE_MAX_BYTES = 10 * 1024 * 1024;
const FILES_MAX = 5;

export class RotatingFile implements Disposable {
  readonly #path: string;
  readonly #maxBytes: number;
  #fd: number | null = null;
  #sizeBytes = 0;

  constructor(path: string, maxBytes = FILE_MAX_BYTES) {
    this.#path = path;
    this.#maxBytes = maxBytes;
  }

  write(text: string): void {
    try {
      const bytes = Buffer.from(text);
      if (this.#sizeBytes + bytes.length > this.#maxBytes && this.#sizeBytes > 0) this.#rotate();
      this.#fd ??= this.#open();
      writeSync(this.#fd, bytes);
      this.#sizeBytes += bytes.length;
    } catch {
      this[Symbol.dispose](); // the next line tries again
    }
  }

  [Symbol.dispose](): void {
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
  }

  #open(): number {
    // Readable by the account although root may write it; the folder keeps others out.
    const fd = openSync(this.#path, 'a', 0o644);
    this.#sizeBytes = fstatSync(fd).size;
    return fd;
  }

  /** agent.log → agent.log.1 → … ; the oldest is overwritten. */
  #rotate(): void {
    this[Symbol.dispose]();
    this.#sizeBytes = 0;
    for (let age = FILES_MAX - 1; age > 0; age--) {
      try {
        renameSync(age === 1 ? this.#path : `${this.#path}.${age - 1}`, `${this.#path}.${age}`);
      } catch {} // there are not so many yet
    }
  }
}
