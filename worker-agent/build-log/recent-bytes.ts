/**
 * Keeps the last bytes of a log in memory, as the build printed them.
 *
 * Invariant: the memory is bounded, and nothing of it is written to a disk.
 */
export class RecentLog {
  readonly #maxBytes: number;
  #chunks: Buffer[] = [];
  #lengthBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  push(bytes: Buffer): void {
    this.#chunks.push(bytes);
    this.#lengthBytes += bytes.length;
    // Joined seldom, because a log comes in many small pieces.
    if (this.#lengthBytes > 2 * this.#maxBytes || this.#chunks.length > 4_096) this.#join();
  }

  /** The last lines, the oldest first. The first may be cut off. */
  lines(most: number): string[] {
    if (this.#lengthBytes === 0) return [];
    return this.#join().toString('utf8').split('\n').slice(-most);
  }

  #join(): Buffer {
    const joined = Buffer.concat(this.#chunks);
    const kept = Buffer.from(joined.subarray(Math.max(0, joined.length - this.#maxBytes)));
    this.#chunks = [kept];
    this.#lengthBytes = kept.length;
    return kept;
  }
}
