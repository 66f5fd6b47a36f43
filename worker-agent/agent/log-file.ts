/**
 * Writes the agent's own log into files of bounded size. launchd cannot rotate a file that it holds open, so
 * the agent writes the log itself.
 *
 * Invariant: at most FILES_MAX files of about FILE_MAX_BYTES each. A file that cannot be written costs its
 * lines, never a build.
 *
 * Owns the file of `--log-file`, and beside it the older ones: `agent.log.1`, `agent.log.2`, …
 */
import { closeSync, fchmodSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';

const FILE_MAX_BYTES = 10 * 1024 * 1024;
const FILES_MAX = 5;

export class LogFile implements Disposable {
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
      writeSync(this.#fd ?? this.#open(), bytes);
      this.#sizeBytes += bytes.length;
    } catch {
      this[Symbol.dispose](); // the next line is tried again
    }
  }

  [Symbol.dispose](): void {
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
  }

  #open(): number {
    const fd = openSync(this.#path, 'a');
    this.#fd = fd;
    const stats = fstatSync(fd);
    // The account may read it although root writes it. launchd starts us with umask 077, which would keep the
    // account out. The folder keeps everybody else out.
    if (stats.isFile() && process.getuid?.() === 0) fchmodSync(fd, 0o644);
    this.#sizeBytes = stats.size;
    return fd;
  }

  /** agent.log becomes agent.log.1, that becomes agent.log.2, and so on. The oldest is overwritten. */
  #rotate(): void {
    this[Symbol.dispose]();
    this.#sizeBytes = 0;
    for (let age = FILES_MAX - 1; age > 0; age--) {
      try {
        renameSync(age === 1 ? this.#path : `${this.#path}.${age - 1}`, `${this.#path}.${age}`);
      } catch {} // there are not so many files yet
    }
  }
}
