/**
 * Prints the progress of a transfer, as Tart does: with the variable CI a line for each new percentage, at
 * most one a second, and without it one line that is overwritten each time.
 */
const EVERY_MS = 1_000;

export class Progress {
  readonly #total: number;
  #done = 0;
  #shown = -1;
  #shownAt = Number.NEGATIVE_INFINITY;

  constructor(total: number) {
    this.#total = total;
    this.#show();
  }

  add(bytes: number): void {
    this.#done += bytes;
    this.#show();
  }

  #show(): void {
    const percent = this.#total === 0 ? 100 : Math.floor((100 * this.#done) / this.#total);
    const isLast = percent >= 100;
    if (percent === this.#shown || (!isLast && performance.now() - this.#shownAt < EVERY_MS)) return;
    const [up, erase] = 'CI' in process.env || this.#shown < 0 ? ['', ''] : ['\x1b[1A', '\x1b[2K'];
    console.log(`${up}${erase}${percent}%`);
    this.#shown = percent;
    this.#shownAt = performance.now();
  }
}
